"""What was served, in the lake: each row, label and outcome once, by a written rule; and forgotten on request."""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from bentos.caller import subject_digest
from commands import cli
from ratchet import recipe as recipes
from ratchet.errors import Refusal
from ratchet.evaluation import diversity
from ratchet.lake import forget, ingest, learning, outcomes, predictions, quarantine, seen, served, snapshot, table
from ratchet.lake.outcomes import Answer, Joined, Key, Known, Label
from ratchet.lake.predictions import Segment
from ratchet.recipe import Log, Recipe, Watch
from ratchet.settings import settings
from tests.files import holds

NOW = datetime(2026, 11, 29, tzinfo=UTC)
PATIENCE = timedelta(days=30)


def answer(key: Key, minute: int = 0) -> Answer:
    return Answer(key, "v1", NOW + timedelta(minutes=minute), [0.1, 0.9])


def label(key: Key, name: str, minute: int = 0) -> Label:
    return Label(key, name, NOW + timedelta(minutes=minute))


def joined(labels: list[Label], answered: list[Key], known: dict[Key, Known] | None = None) -> Joined:
    return outcomes.join(labels, {key: answer(key) for key in answered}, known or {}, NOW, PATIENCE)


A, B = ("a", 0), ("a", 1)


def test_a_label_that_says_the_same_changes_nothing_and_another_is_a_correction_with_its_history() -> None:
    result = joined([label(A, "spam", 1), label(A, "spam", 2), label(A, "ham", 3), label(A, "spam", 4)], [A])
    assert [(each.label.label, each.correction) for each in result.outcomes] == [("spam", 0), ("ham", 1), ("spam", 2)]
    known = {A: Known("spam", NOW + timedelta(minutes=4), 2)}
    assert joined([label(A, "spam", 5)], [A], known).outcomes == ()
    assert joined([label(A, "ham", 3)], [A], known).outcomes == (), "an older label does not undo a newer one"
    assert [each.correction for each in joined([label(A, "ham", 6)], [A], known).outcomes] == [3]


def test_a_label_waits_for_its_prediction_and_is_given_up_after_the_stated_time() -> None:
    labels = [label(A, "spam"), label(B, "spam", -60 * 24 * 31)]
    assert (joined(labels, []).waiting, joined(labels, []).given_up) == (1, 1)
    late = joined(labels, [A, B])
    assert [each.answer.key for each in late.outcomes] == [B, A], "thirty days old, and before its prediction"


def test_the_row_of_a_batch_is_a_prediction_of_its_own() -> None:
    result = joined([label(A, "spam"), label(B, "ham")], [A, B])
    assert {each.answer.key: each.label.label for each in result.outcomes} == {A: "spam", B: "ham"}


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["x", "y"])), max_size=12), st.integers(0, 12))
def test_however_the_labels_arrive_the_outcomes_are_those_of_arriving_at_once(
    given: list[tuple[int, str]], cut: int
) -> None:
    labels = [label((str(request), 0), name, minute) for minute, (request, name) in enumerate(given)]
    keys = [(str(request), 0) for request in range(3)]
    whole = joined(labels, keys).outcomes
    first = joined(labels[:cut], keys).outcomes
    known = {each.answer.key: Known(each.label.label, each.label.at, each.correction) for each in first}
    assert (*first, *joined(labels, keys, known).outcomes) == whole
    again = {each.answer.key: Known(each.label.label, each.label.at, each.correction) for each in whole}
    assert joined(labels, keys, again).outcomes == (), "each once"


# From here on with a real lake.


@pytest.fixture
def recipe(home: Path) -> Recipe:
    return replace(recipes.load("small-fashion"), log=Log(inputs=True, days=90), watch=Watch(labels=5))


def segment(recipe: Recipe, number: int, rows: list[dict[str, Any]]) -> Segment:
    lines = []
    for at, row in enumerate(rows):
        line = {"format": 1, "subject": "", "origin": "caller", "row": 0, "number": 1000 * number + at, "at": 1.79e9,
                "revision": "v1-abc", "output": [0.0] * 9 + [1.0], "statistics": {"mean": 3.0}}  # fmt: skip
        lines.append(json.dumps({**line, **row}).encode())
    return Segment(number, b"\n".join(lines) + b"\n")


def picture(recipe: Recipe, seed: int) -> str:
    import base64

    pixels = np.random.default_rng(seed).integers(0, 255, (1, 28, 28)).astype(np.uint8)
    return base64.b64encode(recipe.contract.pack(pixels)).decode()


def land(recipe: Recipe, *rows: dict[str, Any], number: int = 0, process: str = "p" * 16) -> int:
    return predictions.land_predictions(
        recipe.name, process, "host-a", [segment(recipe, number, list(rows))], number, "tester"
    )


def test_a_segment_lands_once_and_what_a_process_lost_is_known_when_it_ends(recipe: Recipe) -> None:
    assert land(recipe, {"request": "a"}, {"request": "b"}) == 2
    assert land(recipe, {"request": "a"}, {"request": "b"}) == 0, "a killed collector comes again"
    assert land(recipe, {"request": "c"}, number=1) == 1
    assert predictions.landed(predictions.predictions(recipe.name), "p" * 16) == 2
    assert predictions.note_end(recipe.name, "p" * 16, "host-a", 7, "tester") == 4
    predictions.note_end(recipe.name, "p" * 16, "host-a", 7, "tester")
    rows = table.read(predictions.lost(recipe.name))
    assert rows is not None
    assert rows["lost"].to_pylist() == [4]


def test_half_a_line_of_a_killed_process_is_left_out_and_a_newer_format_is_refused(recipe: Recipe) -> None:
    whole = segment(recipe, 0, [{"request": "a"}, {"request": "b"}])
    cut = Segment(0, whole.content[:-20])
    assert predictions.land_predictions(recipe.name, "q" * 16, "h", [cut], 0, "tester") == 1
    with pytest.raises(Refusal, match="newer Ratchet"):
        land(recipe, {"request": "a", "format": 2}, process="r" * 16)


def test_the_first_answer_that_a_caller_got_is_the_one_that_counts(recipe: Recipe) -> None:
    land(
        recipe,
        {"request": "a", "at": 1.79e9 + 2, "output": [1.0] + [0.0] * 9},
        {"request": "a", "at": 1.79e9 + 1},
        {"request": "a", "at": 1.79e9, "origin": "shadow", "output": [1.0] + [0.0] * 9},
        {"request": "b", "origin": "own"},
    )
    predictions.add_feedback(recipe.name, {("a", 0): "Ankle boot", ("b", 0): "Bag"}, "file", "tester")
    result = outcomes.update(recipe, "tester")
    assert [(each.answer.key, each.answer.output[9]) for each in result.outcomes] == [(("a", 0), 1.0)]
    assert result.waiting == 1, "nobody got an answer to Ratchet's own request"
    assert served.labelled(recipe.name, "v1-abc", 10).losses.tolist() == [0.0]
    own = served.of_revision(recipe.name, "v1-abc", 2, 10)
    assert own.at.tolist() == [1.79e9 + 1, 1.79e9 + 2]
    assert own.window
    assert (own.count, own.window.since, len(own.window.measured)) == (2, 1.79e9 + 1, 2)
    assert served.of_revision(recipe.name, "v1-abc", 3, 10).window is None
    assert served.of_revision(recipe.name, "v1-abc", 3, 11).count == 0, "of another task"
    assert outcomes.update(recipe, "tester").outcomes == ()


def test_labelled_inputs_become_a_batch_through_the_same_checks_and_each_once(recipe: Recipe) -> None:
    land(recipe, *({"request": f"r{i}", "input": picture(recipe, i)} for i in range(6)), {"request": "bare"})
    labels = {(f"r{i}", 0): "Bag" for i in range(5)} | {("bare", 0): "Bag"}
    predictions.add_feedback(recipe.name, labels, "file", "tester")
    outcomes.update(recipe, "tester")
    assert learning.waiting(recipe) == 5, "without an input there is nothing to learn"
    batch = learning.land(recipe, "tester")
    assert batch
    assert (batch.accepted, batch.quarantined) == (5, 0), "of the sixth nothing is kept but its statistics"
    assert learning.land(recipe, "tester") is None
    assert quarantine.pending(ingest.lake(recipe.name)) == [batch.id]
    predictions.add_feedback(recipe.name, {("r5", 0): "Bag", ("r0", 0): "Coat"}, "file", "tester")
    outcomes.update(recipe, "tester")
    second = learning.land(recipe, "tester")
    assert second
    assert second.accepted == 2, "a new one, and a correction"
    assert learning.batches(recipe.name) == {batch.id, second.id}


def test_nothing_becomes_a_record_where_the_recipe_does_not_keep_inputs(recipe: Recipe) -> None:
    closed = replace(recipe, log=Log())
    land(recipe, {"request": "a", "input": picture(recipe, 1)})
    predictions.add_feedback(recipe.name, {("a", 0): "Bag"}, "file", "tester")
    outcomes.update(closed, "tester")
    assert learning.land(closed, "tester") is None
    assert learning.waiting(closed) == 0


def contains(folder: Path, *needles: bytes) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and holds(path, needles)]


def test_a_forgotten_subject_is_in_no_file_of_the_lake_and_not_in_the_next_snapshot(recipe: Recipe, home: Path) -> None:
    mine, other = subject_digest(recipe.name, "Ann"), subject_digest(recipe.name, "Bob")
    marked = "5ubject"
    requests = [f"{marked}-{uuid.uuid4()}" for _ in range(3)]
    rows = [{"request": request, "subject": mine, "input": picture(recipe, i)} for i, request in enumerate(requests)]
    kept = [{"request": f"kept-{i}", "subject": other, "input": picture(recipe, 10 + i)} for i in range(3)]
    land(recipe, *rows, *kept)
    everybody = [row["request"] for row in (*rows, *kept)]
    predictions.add_feedback(recipe.name, {(request, 0): "Bag" for request in everybody}, "file", "tester")
    outcomes.update(recipe, "tester")
    batch = learning.land(recipe, "tester")
    assert batch
    quarantine.admit_landed(ingest.lake(recipe.name), batch.id, "tester")
    before = snapshot.take(recipe)
    assert before.records == 6
    assert forget.gone(recipe.name, before.version) == ""
    lake = ingest.lake(recipe.name)
    pixels = [np.random.default_rng(i).integers(0, 255, (1, 28, 28)).astype(np.uint8).tobytes() for i in range(3)]
    assert {name.split("/")[0] for name in contains(lake, *pixels)} == {"predictions", "landing", "records"}
    assert contains(lake, marked.encode())
    forget.add(recipe.name, [], [mine], "tester")
    forget.list_requests(recipe.name, "tester")
    result = forget.erase(recipe, "tester")
    assert (result.requests, result.predictions, result.labels, result.records) == (3, 3, 3, 3)
    assert snapshot.take(recipe).records == 3
    gone = forget.gone(recipe.name, before.version)
    assert gone == f"3 records were forgotten, among the requests {', '.join(sorted(requests))}", "reproduce says which"
    needles = [request.encode() for request in requests]
    left = {name.split("/")[0] for name in contains(lake, *needles, *pixels) if "_delta_log" not in name}
    assert left == {"forgotten"}, "the list itself, by which labels that come later are found"
    assert contains(lake, *pixels) == []
    assert not any(mine in path.read_text(errors="ignore") for path in lake.glob("predictions/**/*.json"))
    with pytest.raises(Refusal, match="forget"):
        table.read(lake / "records", version=0 + table.version(lake / "records") - 1)


def test_what_arrives_of_a_forgotten_subject_later_is_erased_as_well(recipe: Recipe) -> None:
    mine = subject_digest(recipe.name, "Ann")
    land(recipe, {"request": "early", "subject": mine})
    forget.add(recipe.name, [], [mine], "tester")
    forget.list_requests(recipe.name, "tester")
    forget.erase(recipe, "tester")
    land(recipe, {"request": "late", "subject": mine}, {"request": "other"}, number=1)
    forget.list_requests(recipe.name, "tester")
    assert forget.erase(recipe, "tester").predictions == 1
    rows = table.read(predictions.predictions(recipe.name), ["request"])
    assert rows is not None
    assert rows["request"].to_pylist() == ["other"]
    version = table.version(predictions.predictions(recipe.name))
    assert forget.erase(recipe, "tester").predictions == 0
    assert table.version(predictions.predictions(recipe.name)) == version, "no commit for nothing"


def test_a_segment_that_was_removed_before_it_was_collected_does_not_end_the_collecting(recipe: Recipe) -> None:
    process, name = "r" * 16, recipe.name

    def land_one(number: int) -> int:
        after = predictions.landed(predictions.predictions(name), process)
        return predictions.land_predictions(
            name, process, "h", [segment(recipe, number, [{"request": "a"}])], after, "tester"
        )

    assert [land_one(number) for number in (0, 3, 4)] == [1, 1, 1]
    assert predictions.note_end(name, process, "h", 5, "tester") == 2, "those of the two segments are counted as lost"


def test_rows_older_than_the_recipe_allows_are_erased(recipe: Recipe) -> None:
    old = (NOW - timedelta(days=91)).timestamp()
    land(recipe, {"request": "old", "at": old}, {"request": "new", "at": NOW.timestamp()})
    assert forget.retain(recipe, "tester", NOW) == 1
    rows = table.read(predictions.predictions(recipe.name), ["request"])
    assert rows is not None
    assert rows["request"].to_pylist() == ["new"]
    assert forget.retain(recipe, "tester", NOW) == 0


def test_many_small_files_become_few(recipe: Recipe) -> None:
    for number in range(70):
        land(recipe, {"request": str(number), "at": NOW.timestamp()}, number=number)
    path = predictions.predictions(recipe.name)
    before = len(list(path.glob("*.parquet")))
    forget.retain(recipe, "tester", NOW)
    rows = table.read(path, ["request"])
    assert rows is not None
    assert sorted(map(int, rows["request"].to_pylist())) == list(range(70))
    assert len(list(path.glob("*.parquet"))) < before / 10


def test_what_is_erased_in_part_can_be_read_and_erased_again(recipe: Recipe) -> None:
    """Delta Lake writes the rows that stay with another type of text."""
    land(recipe, {"request": "a"}, {"request": "b"}, {"request": "c"})
    predictions.add_feedback(recipe.name, {(request, 0): "Bag" for request in "abc"}, "file", "tester")
    outcomes.update(recipe, "tester")
    for request, left in (("a", 2), ("b", 1)):
        forget.add(recipe.name, [request], [], "tester")
        assert forget.erase(recipe, "tester").predictions == 1
        assert len(served.labelled(recipe.name, "v1-abc", 10).losses) == left
        assert served.of_revision(recipe.name, "v1-abc", 1, 10).count == left
    assert predictions.note_end(recipe.name, "p" * 16, "host-a", 4, "tester") == 1, "what was erased is not lost"


def test_labels_that_were_joined_at_once_are_watched_in_the_order_of_the_predictions(recipe: Recipe) -> None:
    """A file may be sorted by class, and so may the rows of a batch: a run of one class is no change."""
    keys = [("batch", row) for row in range(40)] + [(f"later {number}", 0) for number in range(3)]
    land(recipe, *({"request": request, "row": row, "at": 1.79e9 + (request != "batch")} for request, row in keys))
    right, wrong = "Ankle boot", "Bag"
    labels = {key: right if number < 20 else wrong for number, key in enumerate(keys)}
    predictions.add_feedback(recipe.name, labels, "file", "tester")
    outcomes.update(recipe, "tester")
    losses = served.labelled(recipe.name, "v1-abc", 10).losses.tolist()
    assert losses[-3:] == [1.0, 1.0, 1.0]
    assert 5 < sum(losses[:20]) < 15


def test_a_label_whose_prediction_was_retained_away_does_not_wait_for_it(recipe: Recipe) -> None:
    short = replace(recipe, log=replace(recipe.log, days=7))
    at = (NOW - timedelta(days=8)).timestamp()
    land(recipe, *({"request": f"r{number}", "at": at} for number in range(20)))
    predictions.add_feedback(recipe.name, {(f"r{number}", 0): "Bag" for number in range(20)}, "file", "tester")
    assert len(outcomes.update(short, "tester").outcomes) == 20
    forget.retain(short, "tester", NOW)
    result = outcomes.update(short, "tester")
    assert (result.waiting, result.given_up) == (0, 0)
    assert predictions.note_end(recipe.name, "p" * 16, "host-a", 20, "tester") == 0, "nor is it lost"


def test_what_a_request_became_is_forgotten_also_if_no_contract_reads_it_any_more(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(recipe, {"request": "a", "input": picture(recipe, 1)}, {"request": "b", "input": picture(recipe, 2)})
    predictions.add_feedback(recipe.name, {("a", 0): "Bag", ("b", 0): "Coat"}, "file", "tester")
    outcomes.update(recipe, "tester")
    batch = learning.land(recipe, "tester")
    assert batch
    home = ingest.lake(recipe.name)
    quarantine.admit_landed(home, batch.id, "tester")
    summary = home / "summaries" / f"{batch.id}.json"
    summary.parent.mkdir()
    summary.write_text("{}")
    forget.add(recipe.name, ["a"], [], "tester")
    monkeypatch.setattr(forget, "_digest", lambda *_: "")
    assert forget.erase(recipe, "tester").records == 1
    rows = table.read(home / "records", ["label"])
    assert rows is not None
    assert rows.num_rows == 1
    assert not summary.exists(), "it may hold values of what was forgotten"
    learnt = table.read(learning.learnt(recipe.name), ["request"])
    assert learnt is not None
    assert learnt["request"].to_pylist() == ["b"]


def test_a_file_that_a_killed_writer_left_is_erased_as_well_once_it_can_be_nobodys(recipe: Recipe) -> None:
    land(recipe, {"request": "a"}, {"request": "b"})
    path = predictions.predictions(recipe.name)
    (file,) = path.glob("*.parquet")
    orphan = path / f"part-orphan-{file.name}"
    orphan.write_bytes(file.read_bytes())
    forget.add(recipe.name, ["a"], [], "tester")
    forget.erase(recipe, "tester")
    assert orphan.exists(), "a commit may be under way"
    old = orphan.stat().st_mtime - 7200
    os.utime(orphan, (old, old))
    forget.erase(recipe, "tester")
    assert not orphan.exists()


@pytest.mark.parametrize("name", ["r1#0 (label C#)", "r1#0", "r1#12 (label a#1 (label b)"])
def test_a_refused_record_is_known_by_its_request_whatever_its_label_is(name: str) -> None:
    assert forget.is_of(name, {"r1"})
    assert not forget.is_of(name, {"r", "r1#0 (label C"})


@pytest.mark.parametrize("killed_at", range(7))
def test_whenever_a_forgetting_is_killed_the_next_one_does_the_rest(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch, killed_at: int
) -> None:
    land(recipe, {"request": "a", "input": picture(recipe, 1)}, {"request": "b", "input": picture(recipe, 2)})
    predictions.add_feedback(recipe.name, {("a", 0): "Bag", ("b", 0): "Coat"}, "file", "tester")
    outcomes.update(recipe, "tester")
    batch, home = learning.land(recipe, "tester"), ingest.lake(recipe.name)
    assert batch
    quarantine.admit_landed(home, batch.id, "tester")
    seen.among(home / "records", np.zeros(1, np.uint64))  # keeps the keys of both inputs
    forget.add(recipe.name, ["a"], [], "tester")
    calls = list[Path]()

    def killed(work: Any) -> Any:
        def call(path: Path, *arguments: Any, **meta: str) -> Any:
            calls.append(path)
            if len(calls) > killed_at:
                raise KeyboardInterrupt
            return work(path, *arguments, **meta)

        return call

    with monkeypatch.context() as patched:
        patched.setattr(table, "erase", killed(table.erase))
        patched.setattr(seen, "prune", killed(seen.prune))
        with pytest.raises(KeyboardInterrupt):
            forget.erase(recipe, "tester")
    forget.erase(recipe, "tester")
    for name in ("predictions", "feedback", "outcomes", "learnt"):
        rows = table.read(home / name, ["request"])
        assert rows is not None
        assert rows["request"].to_pylist() == ["b"], name
    for name, left in (("records", 1), ("landing", 0)):
        rows = table.read(home / name, ["input"])
        assert rows is not None
        assert rows.num_rows == left
    assert not list((home / seen._FOLDER / "records").iterdir()), "a key is part of a digest"


def test_an_inbox_that_is_read_again_after_a_kill_lands_and_labels_nothing_twice(
    recipe: Recipe, tmp_path: Path
) -> None:
    from flows import collect
    from releases.ledger import Ledger

    ledger, images = Ledger(settings().ledger), np.random.default_rng(0).integers(0, 255, (20, 28, 28)).astype(np.uint8)
    labels, batch = tmp_path / "labels.csv", tmp_path / "batch.npz"
    labels.write_text("request id,label\na,Bag\n")
    np.savez(batch, x=images, y=np.zeros(20, np.int64))
    land(recipe, {"request": "a", "at": NOW.timestamp() - 60})
    for _ in range(2):
        assert collect._land(ledger, recipe, labels) == "1 labels from labels.csv"
        collect._land(ledger, recipe, batch)
        outcomes.update(recipe, "tester")
    joined = table.read(outcomes.path(recipe.name), ["request"])
    rows = table.read(ingest.lake(recipe.name) / "landing", ["record"])
    assert joined is not None
    assert rows is not None
    assert (joined.num_rows, rows.num_rows) == (1, 20)


def test_whom_nobody_named_is_not_forgotten(recipe: Recipe) -> None:
    """An empty shell variable must not erase every request without a subject."""
    for requests, subjects in (([""], []), ([], [""])):
        with pytest.raises(AssertionError):
            forget.add(recipe.name, requests, subjects, "tester")
    done = CliRunner().invoke(cli, ["forget", recipe.name, "--subject", "", "--yes"])
    assert isinstance(done.exception, Refusal)
    assert "an id is empty" in str(done.exception)


def test_an_input_that_is_a_record_already_is_not_learnt_twice(recipe: Recipe) -> None:
    """Callers send the same again, and the suite allows few duplicates."""
    rows = [{"request": f"r{number}", "input": picture(recipe, number % 3)} for number in range(6)]
    land(recipe, *rows)
    predictions.add_feedback(recipe.name, {(f"r{number}", 0): "Bag" for number in range(5)}, "file", "tester")
    outcomes.update(recipe, "tester")
    batch = learning.land(recipe, "tester")
    assert batch
    assert batch.accepted == 3
    predictions.add_feedback(recipe.name, {("r5", 0): "Bag"}, "file", "tester")
    outcomes.update(recipe, "tester")
    assert learning.waiting(recipe) == 1
    assert learning.land(recipe, "tester") is None
    assert learning.waiting(recipe) == 0, "it does not wait for ever"


def test_of_a_request_id_that_came_again_the_first_answer_is_worth_a_label(recipe: Recipe) -> None:
    land(recipe, {"request": "a", "at": 1.79e9}, {"request": "b", "at": 1.79e9 + 1}, {"request": "a", "at": 1.79e9 + 2})
    rows = served.unlabelled(recipe.name, "v1-abc", 10)
    assert sorted((row["request"], row["at"].timestamp() - 1.79e9) for row in rows) == [("a", 0), ("b", 1)]


def test_what_callers_send_and_when_labels_come_back_is_read_from_the_log(recipe: Recipe) -> None:
    assert served.traffic(recipe) is None
    start = datetime.now(UTC).timestamp() - 4000
    land(recipe, *({"request": f"r{number}", "at": start + 10 * number} for number in range(200)))
    bare = served.traffic(recipe)
    assert bare == served.Traffic(pytest.approx(0.1, rel=0.01), None, 0.0)
    predictions.add_feedback(recipe.name, {(f"r{number}", 0): "Bag" for number in range(100)}, "file", "tester")
    outcomes.update(recipe, "tester")
    sent = served.traffic(recipe)
    assert sent
    assert sent.label_seconds == pytest.approx(3950, abs=60)
    assert sent.labelled == 0.0, "none was due before the newest answer"


def test_traffic_is_that_of_the_busiest_hour_with_every_row_and_a_label_counts_if_it_came_in_time(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert served.traffic(recipe) is None
    start = 1.79e9
    early, late = [f"early-{number}" for number in range(60)], [f"late-{number}" for number in range(3)]
    of_the_day = [{"request": request, "at": start, "row": row} for request in (*early, *late) for row in (0, 1)]
    others = [{"request": "new", "at": start + 5400}, {"request": "shadow", "at": start + 6000, "origin": "shadow"}]
    land(recipe, *of_the_day, *others, *({"request": f"old-{at}", "at": start - 2 * 86400} for at in range(500)))
    assert served.traffic(recipe) == served.Traffic(126 / 3600, None, 0.0)
    for labelled, after in ((early, 60), (late, 900)):
        monkeypatch.setattr(predictions.clock, "now", lambda after=after: start + after)
        predictions.add_feedback(recipe.name, {(request, 0): "Bag" for request in labelled}, "file", "tester")
    outcomes.update(recipe, "tester")
    assert served.traffic(recipe) == served.Traffic(126 / 3600, 60.0, 60 / 126)


def test_of_two_collectors_that_overlap_one_lands_a_segment(recipe: Recipe) -> None:
    segments = [segment(recipe, number, [{"request": str(number)}]) for number in range(3)]
    name, process = recipe.name, "p" * 16
    assert predictions.land_predictions(name, process, "h", segments[:2], 0, "one") == 2
    assert predictions.land_predictions(name, process, "h", segments, 0, "two") == 0
    assert predictions.land_predictions(name, process, "h", segments[2:], 2, "two") == 1
    rows = table.read(predictions.predictions(name), ["request"])
    assert rows is not None
    assert sorted(rows["request"].to_pylist()) == ["0", "1", "2"]


def test_a_label_in_another_spelling_is_no_correction_and_a_correction_replaces_the_record(recipe: Recipe) -> None:
    land(recipe, {"request": "a", "input": picture(recipe, 1)}, {"request": "b", "input": picture(recipe, 2)})
    for name in ("9", "Ankle boot"):
        predictions.add_feedback(recipe.name, {("a", 0): name, ("b", 0): "Bag"}, "file", "tester")
        outcomes.update(recipe, "tester")
    assert len(served.labelled(recipe.name, "v1-abc", 10).losses) == 2
    first = learning.land(recipe, "tester")
    assert first
    quarantine.admit_landed(ingest.lake(recipe.name), first.id, "tester")
    predictions.add_feedback(recipe.name, {("a", 0): "Sandal"}, "file", "tester")
    outcomes.update(recipe, "tester")
    second = learning.land(recipe, "tester")
    assert second
    quarantine.admit_landed(ingest.lake(recipe.name), second.id, "tester")
    rows = table.read(ingest.lake(recipe.name) / "records", ["label"])
    assert rows is not None
    classes = recipe.answers.classes
    assert sorted(classes[number] for number in rows["label"].to_pylist()) == ["Bag", "Sandal"]


def test_labels_that_were_requested_measure_nothing_and_teach_all_the_same(recipe: Recipe) -> None:
    """Those of uncertain answers are worse than others by design."""
    land(recipe, {"request": "a", "input": picture(recipe, 1)}, {"request": "b", "input": picture(recipe, 2)})
    predictions.note_requested(recipe.name, [("a", 0)], "tester")
    predictions.add_feedback(recipe.name, {("a", 0): "Bag", ("b", 0): "Ankle boot"}, "file", "tester")
    outcomes.update(recipe, "tester")
    assert served.labelled(recipe.name, "v1-abc", 10).losses.tolist() == [0.0]
    assert [day["labels"] for day in served.performance(recipe.name)] == [1]
    batch = learning.land(recipe, "tester")
    assert batch
    assert batch.accepted == 2


def test_what_is_worth_a_label_is_probably_wrong_and_not_all_alike() -> None:
    expected = np.array([0.1] * 50 + [0.9] * 49 + [0.91])
    features = np.array([[0.0, 0.0]] * 50 + [[1.0, 0.0]] * 49 + [[1.0, 9.0]])
    chosen = diversity.choose(expected, features, 3)
    assert len(chosen) == len(set(chosen)) == 3
    assert 99 in chosen[:2], "the one that is unlike the others"
    assert all(expected[at] >= 0.9 for at in chosen[:2])
    assert diversity.choose(expected[:0], features[:0], 3) == []
    assert len(diversity.choose(expected, features, 500)) == 100
