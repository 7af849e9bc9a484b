"""`ratchet new` reads data as ingest would, and what it writes is a recipe that its own data passes."""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from expectations import checkpoint, statistics
from expectations.suite import suite
from flows.preview import Preview, preview
from models import linear
from ratchet import recipe as recipes
from ratchet import settings as settings_module
from ratchet.errors import Refusal
from ratchet.kinds.series import SeriesContract
from ratchet.kinds.table import TableContract
from ratchet.lake import ingest, quarantine, snapshot
from ratchet.lake.outline import NOTHING, Given
from ratchet.lake.scaffold import scaffold
from ratchet.lake.snapshot import Examples
from ratchet.layout import Layout
from ratchet.tasks.multilabel import MultiLabel
from ratchet.tasks.multilabel import scaffold as several
from ratchet.tasks.regression import Regression


@pytest.fixture
def own(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "recipes").mkdir()
    monkeypatch.setenv("RATCHET_RECIPES", str(tmp_path / "recipes"))
    settings_module.settings.cache_clear()
    return tmp_path


def images(folder: Path) -> Path:
    chance = np.random.default_rng(0)
    for number in range(400):
        at = folder / "my pictures" / ("cat", "dog")[number % 2] / f"{number}.png"
        at.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(chance.integers(0, 256, (20, 24), dtype=np.uint8)).save(at)
    return folder / "my pictures"


def _word(number: int) -> str:
    return "".join(chr(97 + int(digit)) for digit in str(number))


def texts(folder: Path) -> Path:
    with (folder / "mails.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["label", "text"])
        rows.writerows([(("yes", 'no "really"')[n % 2], f"text, named {_word(n)}\nof many") for n in range(400)])
    return folder / "mails.csv"


def series(folder: Path) -> Path:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    lines = [f"{(start + timedelta(hours=n)).isoformat()},{20 + np.sin(n / 24 * 2 * np.pi):.2f}" for n in range(6000)]
    with gzip.open(folder / "hours.csv.gz", "wt") as file:
        file.write("time,value\n" + "\n".join(lines))
    return folder / "hours.csv.gz"


def table(folder: Path) -> Path:
    """Houses with a price: `tax` is a part of it, which leaks it, and every `id` is another."""
    chance = np.random.default_rng(0)
    with (folder / "houses.csv").open("w", newline="") as file:
        rows = csv.writer(file, delimiter=";")
        rows.writerow(["id", "rooms", "size", "street", "sold", "new", "same", "nothing", "tax", "label"])
        for n in range(600):
            size, rooms = chance.uniform(40, 200), n % 6 + 1
            price = 300 * size + 10_000 * rooms + chance.normal(0, 30_000)
            cells = [f"h{n}", rooms, f"{size:.1f}" if n % 9 else "", "abc"[n % 3], "2024-05-01T12:00:00Z"]
            rows.writerow([*cells, ("true", "false")[n % 2], 7, "", f"{price / 100:.2f}", f"{price:.0f}"])
    return folder / "houses.csv"


@pytest.mark.parametrize(("kind", "write"), [("image", images), ("text", texts), ("series", series), ("table", table)])
def test_a_scaffolded_recipe_is_one_that_its_own_data_passes(kind: str, write: object, own: Path) -> None:
    source = write(own)  # type: ignore[operator]
    written = scaffold("my-own", kind, source)
    assert written.refused == 0
    assert "my-own" in recipes.names()
    recipe = recipes.load("my-own")
    batch = ingest.land_feed(recipe, recipe.batches[0], "test")
    assert batch.quarantined == 0
    home = ingest.lake(recipe.name)
    result = checkpoint.check(recipe.name, batch.id, statistics.of_batch(recipe, home, batch.id), suite(recipe))
    assert result.passed, result.why
    quarantine.admit_landed(home, batch.id, "test")
    sides = snapshot.load(recipe, snapshot.take(recipe))
    assert all(len(side) for side in sides.values())
    benchmark, _ = snapshot.load_benchmark(recipe)
    assert len(benchmark)
    assert batch.accepted + ingest.benchmark(recipe).num_rows == written.records


def test_the_scaffold_of_a_table_says_what_it_guesses_and_why(own: Path) -> None:
    scaffold("houses", "table", table(own))
    text, contract = recipes.source("houses").read_text(), recipes.load("houses").contract
    assert isinstance(contract, TableContract)
    types = {column.name: (column.type, column.feature) for column in contract.columns}
    assert types == {
        "id": ("category", False), "rooms": ("integer", True), "size": ("number", True), "street": ("category", True),
        "sold": ("timestamp", False), "new": ("boolean", True), "same": ("integer", False),
        "nothing": ("category", False), "tax": ("number", False),
    }  # fmt: skip
    assert (contract.id, contract.target) == ("id", "label")
    assert 0 < contract.by_name("size").missing < 0.3
    assert "# differs in every row: the id" in text
    assert re.search(r'"tax".*# saves \d\d% of the error alone: does it leak\?', text)
    assert isinstance(recipes.load("houses").answers, Regression)
    with pytest.raises(Refusal, match=r"no column 'prize'.*the columns are id, rooms"):
        scaffold("mine", "table", own / "houses.csv", Given(target="prize"))


def hours(count: int, value: str = "{n}", first: int = 0) -> str:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    rows = [f"{(start + timedelta(hours=first + n)).isoformat()},{value.format(n=n % 24)}" for n in range(count)]
    return "time,value\n" + "\n".join(rows)


@pytest.mark.parametrize(("name", "text"), [
    ("short", hours(60)), ("no twelve blocks", hours(900)), ("constant", hours(6000, "7")),
    ("newest first", "\n".join([(t := hours(6000).splitlines())[0], *reversed(t[1:])])),
])  # fmt: skip
def test_a_series_that_could_never_run_is_refused_at_once(name: str, text: str, own: Path) -> None:
    (own / "hours.csv").write_text(text)
    with pytest.raises(Refusal):
        scaffold("mine", "series", own / "hours.csv")


def test_large_numbers_keep_their_digits(own: Path) -> None:
    (own / "hours.csv").write_text(hours(6000, "123456{n:02}"))
    assert scaffold("mine", "series", own / "hours.csv").refused == 0
    recipe = recipes.load("mine")
    assert ingest.land_feed(recipe, recipe.batches[0], "test").quarantined == 0


def test_no_recipe_is_overwritten(own: Path) -> None:
    source = texts(own)
    path = scaffold("mine", "text", source).path
    before = path.read_text()
    with pytest.raises(Refusal, match="already"):
        scaffold("mine", "text", source)
    assert path.read_text() == before


@pytest.mark.parametrize("name", ["", "../up", "Big", "a b", "-a", "a" * 100])
def test_a_name_that_no_recipe_may_have_is_refused(name: str, own: Path) -> None:
    with pytest.raises(Refusal, match="a name consists of"):
        scaffold(name, "text", own)


@pytest.mark.parametrize("kind", ["image", "text", "series", "table"])
def test_data_that_gives_no_recipe_is_refused_with_a_sentence(kind: str, own: Path) -> None:
    (own / "empty").mkdir()
    (own / "odd").write_bytes(b"\0\1\2")
    (own / "few.csv").write_text("text,label,time,value\na,b,2024-01-01,1\n")
    for source in ("empty", "odd", "few.csv", "gone"):
        with pytest.raises(Refusal) as caught:
            scaffold("mine", kind, own / source)
        assert caught.value.next
    assert not list((own / "recipes").iterdir())


def test_data_that_changed_since_is_noticed(own: Path) -> None:
    source = images(own)
    scaffold("mine", "image", source)
    Image.new("L", (24, 20)).save(source / "cat" / "new.png")
    recipe = recipes.load("mine")
    with pytest.raises(Refusal, match="ratchet ingest"):
        ingest.land_feed(recipe, recipe.batches[0], "test")


def tried(kind: str, source: Path, given: Given = NOTHING) -> Preview:
    return preview(recipes.load(scaffold("mine", kind, source, given).path.stem), lambda line: None)


def csv_of(path: Path, header: str, lines: Iterable[str]) -> Path:
    path.write_text(header + "\n" + "\n".join(lines))
    return path


def test_a_new_recipe_is_tried_as_the_loop_would(own: Path) -> None:
    result = tried("text", texts(own))
    assert result.problems == ()
    assert not checkpoint.docs().exists(), "nothing of it is kept in Data Docs"
    figures = "\n".join(result.figures)
    assert re.search(r"examples: \d+ train, \d+ validation, \d+ test, \d+ benchmark", figures)
    assert "the best constant answer has accuracy 0.5" in figures
    assert "a linear model has accuracy" in figures


def test_texts_that_are_few_inputs_to_a_model_are_named_as_that(own: Path) -> None:
    """They differ in numbers alone, which a model does not see."""
    source = csv_of(
        own / "orders.csv",
        "text,label",
        (f"order {n} is {'late' if n % 2 else 'here'},{'ab'[n % 2]}" for n in range(300)),
    )
    result = tried("text", source)
    (problem,) = result.problems
    assert problem.startswith("no record of the first batch would land: the text is an input of the benchmark set")
    (reason,) = [figure for figure in result.figures if "quarantine" in figure]
    assert "is an input of the benchmark set" in reason
    assert "equal but for case, numbers and addresses are one input" in reason


def test_labels_in_rotation_are_all_in_the_benchmark_and_in_training(own: Path) -> None:
    """Every sixth of six classes in turn would be one class."""
    source = csv_of(own / "turns.csv", "text,label", (f"{_word(n)} {_word(7 * n)},class {n % 6}" for n in range(900)))
    assert not [problem for problem in tried("text", source).problems if "no record of the class" in problem]
    assert "every=-6" not in recipes.source("mine").read_text()


def test_a_class_without_a_record_in_the_benchmark_is_named(own: Path) -> None:
    labels = ["common"] * 597 + ["rare"] * 3
    source = csv_of(own / "few.csv", "text,label", (f"{_word(n)} w,{label}" for n, label in enumerate(labels)))
    problems = tried("text", source).problems
    assert any("has no record of the class rare" in problem for problem in problems)


def test_a_rare_class_is_asked_for_by_balanced_accuracy(own: Path) -> None:
    source = csv_of(
        own / "rare.csv", "text,label", (f"{_word(n)} w,{'yes' if n % 100 == 0 else 'no'}" for n in range(2000))
    )
    result = tried("text", source)
    text = recipes.source("mine").read_text()
    assert "balanced_accuracy=0.625" in text
    assert "accuracy=0.98," in text, "and not 1.0"
    assert any("balanced accuracy: 0.5000 is below 0.625" in figure for figure in result.figures)


def test_hours_with_gaps_make_a_recipe_that_fills_them(own: Path) -> None:
    lines = hours(9000).splitlines()
    kept = [line for n, line in enumerate(lines[1:]) if n % 37]
    result = tried("series", csv_of(own / "gaps.csv", lines[0], kept))
    contract = recipes.load("mine").contract
    assert isinstance(contract, SeriesContract)
    assert contract.fill == 1
    assert result.problems == ()


def test_a_short_series_makes_a_recipe_with_a_shorter_horizon(own: Path) -> None:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    source = csv_of(
        own / "days.csv", "time,value", (f"{(start + timedelta(days=n)).isoformat()},{n % 7}" for n in range(700))
    )
    with pytest.raises(Refusal, match="do not suffice") as caught:
        scaffold("mine", "series", source)
    assert "--horizon" in caught.value.next
    assert tried("series", source, Given(horizon=1)).problems == ()


def test_years_and_a_day_that_comes_twice_end_in_no_trace(own: Path) -> None:
    years = (f"{1900 + n}-01-01,{n % 7}" for n in range(80))
    with pytest.raises(Refusal, match="do not suffice"):
        scaffold("mine", "series", csv_of(own / "years.csv", "time,value", years))
    days = [date(2012, 1, 2) + timedelta(days=n) for n in range(2400)]
    lines = [
        f"{day}T{n % 400 // 399:02}:00:00,{n % 5}" for n, day in enumerate(day for day in days if day.weekday() < 5)
    ]
    scaffold("mine", "series", csv_of(own / "twice.csv", "time,value", lines))


def test_what_is_left_out_of_a_table_is_said_and_a_series_with_decimal_commas_too(own: Path) -> None:
    lines = (f"{n},{'ab'[n % 2]},{n * 7919 % 10},{'yn'[n % 2]}" for n in range(300))
    written = scaffold("mine", "table", csv_of(own / "t.csv", "row,tells,x,label", lines))
    assert any("the column 'tells' is no feature: it saves" in fact for fact in written.facts), written.facts
    recipes.source("mine").unlink()
    days = [f"2012-{n // 28 % 12 + 1:02}-{n % 28 + 1:02};1{n},5" for n in range(300)]
    with pytest.raises(Refusal, match="with a decimal comma: give `--decimal ,`"):
        scaffold("mine", "series", csv_of(own / "s.csv", "time;value", days))


def test_a_forecast_is_tried_by_the_baselines_that_it_will_be_compared_with(own: Path) -> None:
    figures = tried("series", csv_of(own / "h.csv", *_head(hours(6000)))).figures
    assert any("the linear baseline has mean squared error" in figure for figure in figures)
    assert not any("a linear model" in figure for figure in figures)


def _head(text: str) -> tuple[str, list[str]]:
    first, *lines = text.splitlines()
    return first, lines


def test_labels_with_a_comma_are_no_lists(own: Path) -> None:
    for labels in (["New York, NY", "Buffalo, NY", "Albany, NY"], ["yes, sure", "no, sure"]):
        assert several.fit(labels * 50) == 0.0
    assert several.fit([f"{n % 60},{n % 7}0" for n in range(900)]) == 0.0, "numbers with a decimal comma"
    assert several.fit(["a|17;b", "17;b", "17"] * 50) == several.fit(["a|b", "b"] * 50) == 0.8
    assert several.fit(['["x|y"]', "[]"]) == 1.0
    assert several.fit(["[spam]", "[ham]"] * 50) == 0.0, "brackets alone make no list"
    assert several.fit(["1|4", "2", "3|1"] * 50) == 0.8, "numbers of labels"


def test_prices_of_business_days_and_counts_of_months_make_a_recipe(own: Path) -> None:
    days = (date(2012, 1, 2) + timedelta(days=n) for n in range(2400))
    prices = [f"{day},{50 + n % 5}" for n, day in enumerate(day for day in days if day.weekday() < 5)]
    holidays = [price for n, price in enumerate(prices) if n % 90]
    assert tried("series", csv_of(own / "prices.csv", "time,value", holidays)).problems == ()
    contract = recipes.load("mine").contract
    assert isinstance(contract, SeriesContract)
    assert (contract.step, contract.horizon, contract.window, contract.fill) == ("business day", 5, 35, 1)
    recipes.source("mine").unlink()
    midnights = (f"{price[:10]}T00:00:00{price[10:]}" for price in (*holidays, "2012-01-07,50"))
    berlin = Given(Layout(zone="Europe/Berlin"))
    scaffold("mine", "series", csv_of(own / "berlin.csv", "time,value", sorted(midnights)), berlin)
    contract = recipes.load("mine").contract
    assert isinstance(contract, SeriesContract)
    assert contract.step == "business day", "a single weekend does not change it"
    monday = datetime(2012, 1, 8, 23, tzinfo=UTC), datetime(2012, 7, 8, 22, tzinfo=UTC)
    assert all(contract.places(np.array([time.timestamp()]))[0] % 1 == 0 for time in monday)
    recipes.source("mine").unlink()
    months = [f"{1990 + n // 12}-{n % 12 + 1:02}-01,{(n % 12) + n / 50}" for n in range(420)]
    assert tried("series", csv_of(own / "months.csv", "time,value", months)).problems == ()
    contract = recipes.load("mine").contract
    assert isinstance(contract, SeriesContract)
    assert (contract.step, contract.season) == ("month", 12)


def test_records_with_several_labels_make_a_recipe_that_predicts_each(own: Path) -> None:
    def labels(n: int) -> list[str]:
        return [name for name, there in (("big", n % 100 > 50), ("cheap", n % 7 > 3), ("new", n % 10 > 7)) if there]

    chance = np.random.default_rng(0)
    rows = ({"size": n % 100, "price": n % 7, "shop": "abc"[n % 3], "tags": labels(n)} for n in chance.permutation(900))
    (own / "rows.jsonl").write_text("\n".join(json.dumps(row, default=int) for row in rows))
    result = tried("table", own / "rows.jsonl", Given(target="tags"))
    assert result.problems == ()
    assert any("binary accuracy" in figure for figure in result.figures), result.figures
    recipe = recipes.load("mine")
    assert isinstance(recipe.answers, MultiLabel)
    assert recipe.answers.labels == ("big", "cheap", "new")
    assert recipe.training.family == "mlp"


def test_local_times_of_a_table_are_named_or_read_by_their_zone(own: Path) -> None:
    lines = (f"{n % 7},2024-05-{n % 28 + 1:02} 12:{n % 60:02},{'ab'[n * 7919 % 13 > 6]}" for n in range(300))
    source = csv_of(own / "local.csv", "size,at,label", lines)
    scaffold("mine", "table", source)
    assert "has times without a zone: `--zone` reads them" in recipes.source("mine").read_text()
    scaffold("other", "table", source, Given(Layout(zone="Europe/Berlin")))
    contract = recipes.load("other").contract
    assert isinstance(contract, TableContract)
    assert contract.by_name("at").type == "timestamp"
    recipe = recipes.load("other")
    assert ingest.land_feed(recipe, recipe.batches[0], "test").accepted


def test_a_linear_model_of_one_class_answers_that_class(own: Path) -> None:
    recipe = replace(recipes.load("spam"), name="one")
    trained = Examples(np.array(["buy now", "see you"] * 5, object), np.ones(10, int))
    outputs = linear.fit_and_predict(recipe, trained, np.array(["hello"], object))
    assert outputs.tolist() == [[0.0, 1.0]]


def test_cells_that_are_lists_are_left_out_with_a_word(own: Path) -> None:
    lines = (json.dumps({"size": n % 9, "tags": ["a"], "label": "ab"[n * 7919 % 13 > 6]}) for n in range(200))
    (own / "rows.jsonl").write_text("\n".join(lines))
    written = scaffold("mine", "table", own / "rows.jsonl")
    assert "# left out, by their name or since their cells are lists or objects: 'tags'" in written.path.read_text()
    assert written.refused == 0
