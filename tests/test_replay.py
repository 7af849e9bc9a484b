"""A replay: a clock that can be turned, what may change, and what other policies would have done."""

from __future__ import annotations

import base64
import json
import os
import re
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from commands import cli
from ratchet import clock
from ratchet import recipe as recipes
from ratchet.errors import Refusal
from ratchet.fleet.stack import Stack, running_replays
from ratchet.kinds import parts
from ratchet.kinds.table import Column, TableContract
from ratchet.lake import ingest, outcomes, predictions, quarantine
from ratchet.lake.predictions import Segment
from ratchet.lake.snapshot import Examples, load_benchmark
from ratchet.lake.split import Side
from ratchet.progress import silent
from ratchet.recipe import Classification, Criteria, Recipe, Training, Watch
from ratchet.settings import settings
from ratchet.types import Level
from replays import conclusion, faults, picture, run, scenarios, whatif, year
from replays import home as homes
from replays import stream as streams
from replays.backtest import Backtest
from replays.driver import Unanswered
from replays.offline import DAY
from replays.options import Options
from replays.options import given as given_options
from replays.play import Acted, Period, Replay, Seen, Started, play
from replays.recipe import played
from replays.result import Result, move_aside, read, read_matching, write
from replays.stream import Stream
from tests.conftest import ROOT

# The clock


def test_without_a_replay_the_clock_is_the_real_time(home: Path) -> None:
    assert clock.played(1234.5) == 1234.5


def test_a_moment_plays_what_the_clock_was_last_turned_to_before_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.mkdir(parents=True)
    file = home / "clock.txt"
    file.write_text("100 5000\n200 9000\n")
    monkeypatch.setenv("RATCHET_CLOCK", str(file))
    settings.cache_clear()
    assert [clock.played(real) for real in (50, 100, 150, 200, 260)] == [50, 5000, 5050, 9000, 9060]
    clock.turn(file, 20_000.0)
    assert 20_000 <= clock.now() < 20_060, "it is read again"


# Streams and scenarios

CLASSES = ("no", "yes")
TABLE = TableContract(
    (
        Column("price", "number", low=0, high=1000),
        Column("age", "number", missing=0.5),
        Column("city", "category", length=4),
    ),
    target="bought",
)


def recipe_of(contract: TableContract = TABLE) -> Recipe:
    return replace(
        recipes.load("flight-delay"),
        name="bought",
        contract=contract,
        task=Classification(CLASSES),
        training=Training(family="boosting", parameters={"rounds": 40, "min_records": 10}),
        criteria=Criteria(accuracy=0.6, worst_class=0.0, margin=0.1, one_column=None),
        watch=Watch(causes=("harm",), window=200, tolerance=0.05, cool_down_hours=0.0),
    )


def stream_of(count: int = 300) -> Stream:
    chance = np.random.default_rng(1)
    inputs = np.zeros(count, TABLE.dtype)
    inputs["price"], inputs["age"], inputs["city"] = chance.uniform(0, 900, count), chance.normal(40, 9, count), "Rome"
    labels, at = (inputs["price"] > 450).astype(int), np.linspace(0, 10 * DAY, count)
    return Stream(inputs, labels, labels.tolist(), at, at + DAY * chance.random(count))


@pytest.mark.parametrize("name", sorted(scenarios.all_of(recipes.load("flight-delay"))))
def test_a_scenario_changes_nothing_before_it_begins_and_breaks_no_contract(name: str) -> None:
    before, since = stream_of(), 4 * DAY
    after = scenarios.applied(scenarios.of(name, recipe_of()), recipe_of(), before, since, seed=3)
    untouched = int((before.at < since).sum())
    same = np.array_equal(after.inputs[:untouched], before.inputs[:untouched])
    assert same
    assert after.labels[:untouched] == before.labels[:untouched]
    TABLE.read(TABLE.values(after.inputs))
    assert len(after) == len(after.inputs) == len(after.targets) == len(after.at) == len(after.label_at)
    assert (np.diff(after.at) >= 0).all()


@pytest.mark.parametrize("name", sorted(parts.scenarios("image")))
def test_a_scenario_of_images_stays_within_the_contract(name: str) -> None:
    recipe = recipes.load("fashion-mnist")
    images = np.random.default_rng(2).integers(0, 256, (20, 28, 28), np.uint8)
    whole = Stream(images, np.zeros(20, int), [0] * 20, np.arange(20.0), np.arange(20.0))
    changed = scenarios.applied(scenarios.of(name, recipe), recipe, whole, 10.0, seed=3)
    assert np.array_equal(changed.inputs[:10], images[:10])
    assert not np.array_equal(changed.inputs[10:], images[10:])
    recipe.contract.read(recipe.contract.values(changed.inputs))


def test_poisoned_labels_come_back_and_the_truth_stays() -> None:
    before = stream_of()
    after = scenarios.applied(scenarios.of("poisoned-labels", recipe_of()), recipe_of(), before, 0.0, seed=3)
    assert np.array_equal(after.targets, before.targets)
    wrong = np.mean([one != other for one, other in zip(after.labels, before.labels, strict=True)])
    assert 0.1 < wrong < 0.3, "two of five are another one's, which is the same in half of the cases"


def test_a_scenario_of_another_kind_is_refused() -> None:
    with pytest.raises(Refusal, match="there is no scenario 'darker' for the kind table"):
        scenarios.of("darker", recipe_of())


@given(st.integers(1, 200), st.floats(0.3, 30))
def test_every_record_is_in_one_period_and_periods_are_in_order(count: int, days: float) -> None:
    whole = stream_of(count)
    parts = streams.periods(whole, days * DAY)
    assert np.concatenate([part.rows for part in parts]).tolist() == list(range(count))
    assert all(earlier.ends <= later.begins + 1e-3 for earlier, later in pairwise(parts))
    assert all(((part.begins <= whole.at[part.rows]) & (whole.at[part.rows] < part.ends)).all() for part in parts)


def test_a_year_has_its_months_in_order_and_poison_in_one_of_them() -> None:
    recipe, count = recipes.load("fashion-mnist"), 1600
    images = np.random.default_rng(2).integers(50, 256, (count, 28, 28), np.uint8)
    at = np.linspace(0, 365 * DAY, count)
    whole = Stream(images, np.arange(count) % 10, (np.arange(count) % 10).tolist(), at, at + DAY)
    months = year.months(recipe, records := year.stream(recipe, whole, seed=3))
    assert len(months) == year.MONTHS
    assert sum(len(month.rows) for month in months) == count
    wrong = [float(np.mean(np.array(records.labels)[month.rows] != records.targets[month.rows])) for month in months]
    assert wrong == [float(month == year.POISONED) for month in range(year.MONTHS)]
    light = [float(records.inputs[month.rows].mean()) for month in months]
    dark = [month for month in range(year.HARMFUL, year.MONTHS) if month != year.POISONED]
    assert max(light[month] for month in dark) < 0.3 * min(light[: year.HARMFUL])


# Decisions


def period_of(day: float, effects: Sequence[str] = (), **more: Any) -> Period:
    """A day with ten answers, of which one is wrong, and a limit of 0.2."""
    findings = tuple(Seen("measured", effect, "", "") for effect in effects)
    period = Period(day * DAY, (day + 1) * DAY, 10, 1.0, 0.2, None, None, findings, (), "1", "1")
    return replace(period, **more)


def replay_of(*effects: str, loss: float = 1.0) -> Replay:
    periods = tuple(period_of(day, [effect], wrong=loss) for day, effect in enumerate(effects))
    return Replay("bought", "none", 0.0, periods)


def test_the_digest_is_of_what_was_decided_and_of_no_figure() -> None:
    assert replay_of("harmful", "benign").digest == replay_of("harmful", "benign", loss=7.0).digest
    assert replay_of("harmful", "benign").digest != replay_of("benign", "harmful").digest
    assert replace(replay_of("harmful"), scenario="darker").digest != replay_of("harmful").digest
    of_a_person = [
        replace(replay_of("benign"), periods=(period_of(0, acted=Acted("a person retrains", "at 50 %", done)),))
        for done in (True, False)
    ]
    assert of_a_person[0].digest != of_a_person[1].digest


RELEASED, FAILED = Started("harm", "released", 3.0), Started("harm", "failed", 2.0, "the candidate is worse")
CALM = [period_of(0), period_of(1)]


@pytest.mark.parametrize(
    ("periods", "changes", "expected"),
    [
        pytest.param(
            [*CALM, period_of(2, ["harmful"], wrong=6.0, started=(RELEASED,), champion="2"),
             period_of(3, served="2", champion="2")],
            2.0,
            ["before the change the loop started no retraining",
             "the change was noticed within 10 answers, at the first look, and called harmful",
             "after the change the loop started one retraining, which released a version",
             "until the first release the loss was 0.600, and its limit 0.200",
             "after the first release the loss was 0.100"],
            id="cured",
        ),
        pytest.param(
            [*CALM, period_of(2, ["unknown"]), period_of(3, ["harmful"])],
            1.5,
            ["before the change the loop started no retraining",
             "the change was noticed within 15 answers, at look 2 after it, and called unknown",
             "it was called harmful within 25 answers", "after the change the loop started no retraining",
             "the loss was 0.100, and its limit 0.200"],
            id="within a period",
        ),
        pytest.param(
            [period_of(0, ["harmful"], started=(RELEASED, FAILED)), period_of(1),
             period_of(2, ["harmful"], limit=None)],
            2.0,
            ["before the change the loop started 2 retrainings, 1 of which released a version",
             "the change was noticed within 10 answers, at the first look, and called harmful",
             "after the change the loop started no retraining", "the loss was 0.100",
             "a retraining was not released: the candidate is worse"],
            id="a false alarm before",
        ),
        pytest.param(
            [*CALM, period_of(2, ["benign"]), period_of(9, ["benign"])],
            3.0,
            ["before the change the loop started no retraining", "the change was not noticed within 10 answers",
             "after the change the loop started no retraining", "the loss was 0.100, and its limit 0.200"],
            id="known before, and a gap",
        ),
        pytest.param(
            [period_of(0, acted=Acted("a person retrains", "released", True)),
             period_of(1, served="2", champion="1")],
            0.0,
            ["a person retrains: released", "in 2 periods the loop started no retraining",
             "version 1 was brought back"],
            id="by hand, and back",
        ),
    ],
)  # fmt: skip
def test_a_replay_says_how_soon_a_change_was_noticed_what_it_was_called_and_what_cured_it(
    periods: list[Period], changes: float, expected: list[str]
) -> None:
    replay = Replay("bought", "darker", changes * DAY, tuple(periods))
    assert list(conclusion.sentences(replay)) == expected


def test_a_result_with_other_options_is_not_lost_to_a_comparison_without_a_stack(tmp_path: Path) -> None:
    options, recipe = Options("fashion-mnist", "darker", causes=("harm",)), recipes.load("fashion-mnist")
    played_once = Result(replay_of("harmful"), (), tmp_path)
    write(played_once, options, "a replay", recipe)
    same = read_matching(tmp_path, replace(options, policies=("nightly",)), recipe)
    assert same.replay == played_once.replay
    with pytest.raises(Refusal, match="a replay with another value of label days, 1"):
        read_matching(tmp_path, replace(options, label_days=2.0), recipe)
    with pytest.raises(Refusal, match="another value of the recipe's version, "):
        read_matching(tmp_path, options, replace(recipe, version=recipe.version + 1))
    assert read(tmp_path).replay == played_once.replay


def test_a_result_is_moved_aside_by_a_play_with_other_options_and_known_to_one_with_the_same(tmp_path: Path) -> None:
    options, recipe, folder = Options("fashion-mnist", "darker"), recipes.load("fashion-mnist"), tmp_path / "darker"
    assert move_aside(folder, options, recipe, silent) == Result(None, (), folder)
    result = Result(replay_of("harmful"), (), folder, before="1234")
    write(result, options, "a replay", recipe)
    assert move_aside(folder, replace(options, policies=()), recipe, silent) == result
    assert move_aside(folder, replace(options, rows=300), recipe, silent) == Result(None, (), folder)
    (aside,) = tmp_path.glob("darker-*")
    assert read(aside).replay == result.replay


class Failing:
    """A stack whose service does not answer the second request."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe, self.sent, self.labels = recipe, 0, list[tuple[str, int, Any]]()

    def send(self, inputs: np.ndarray, id: str) -> np.ndarray:
        self.sent += 1
        if self.sent == 2:
            raise Unanswered("the gateway answered 503", "/predict", "See its logs")
        return np.eye(2, dtype=np.float32)[np.zeros(len(inputs), int)]

    def label(self, labels: Sequence[tuple[str, int, Any]]) -> None:
        self.labels += labels

    def turn(self, to: float) -> None: ...
    def collect(self) -> None: ...
    def settle(self) -> None: ...
    def causes(self) -> list[Any]:
        return []

    def watched(self, since: float) -> None: ...
    def scale(self) -> float:
        return 1.0

    def champion(self) -> str:
        return "1"


def test_a_request_that_fails_is_counted_and_the_replay_goes_on() -> None:
    backtest, lines = backtest_of(harm=False), list[str]()
    records, driver = backtest.stream.part(np.arange(300)), Failing(backtest.recipe)
    parts = streams.periods(records, 2 * DAY)
    periods = list(play(driver, records, parts, lines.append))  # type: ignore[arg-type]
    failed = [period.failed for period in periods]
    assert sum(failed) == sum(failed[:1]) > 0
    assert sum(period.answered for period in periods) + sum(failed) == 300
    assert any("503" in line for line in lines)


def test_a_home_that_was_kept_is_not_lost_to_the_next_replay(home: Path) -> None:
    folder = homes.prepare("small-fashion", "")
    homes.keep(folder)
    with pytest.raises(Refusal, match="which was kept to be looked at"):
        homes.prepare("small-fashion", "")


def test_the_options_are_said_that_are_not_the_defaults() -> None:
    assert given_options(Options("x", "darker", rows=300, causes=("harm", "labels"), tolerance=0.1)) == (
        "rows 300, causes harm+labels, tolerance 0.1"
    )
    assert given_options(Options("x")) == ""


def test_a_replay_that_ends_early_keeps_its_periods_and_the_result_before_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, target, lines = recipes.load("small-fashion"), home / "none", list[str]()
    options = Options("small-fashion", rows=300, days=100.0)
    write(Result(replay_of("harmful"), (), target), options, "a replay", recipe)

    class Interrupted(Failing):
        collected = 0

        def collect(self) -> None:
            self.collected += 1
            if self.collected == 3:
                raise KeyboardInterrupt

    monkeypatch.setattr(run.driver, "serving", lambda *_: nullcontext(Interrupted(recipe)))
    script = run.script_of(recipe, options)
    with pytest.raises(KeyboardInterrupt):
        run._played(recipe, script, options, target, lines.append)
    unfinished = read(target.with_name("none-unfinished")).replay
    assert unfinished is not None
    assert len(unfinished.periods) == 2 < len(script.parts)
    assert "the next replay begins anew" in lines[-1]
    assert read(target).replay == replay_of("harmful")


def test_the_stack_of_a_replay_that_was_killed_is_in_the_way_of_stacks_alone(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "replays" / "small-fashion" / "home").mkdir(parents=True)
    monkeypatch.setattr(Stack, "is_alive", lambda self: True)
    with pytest.raises(Refusal, match="still runs"), homes.only_one("small-fashion"):
        pass
    with homes.only_one("small-fashion", on_a_stack=False):
        assert running_replays(home) == [home / "replays" / "small-fashion" / "home"]


def test_no_two_scenarios_have_one_digest_in_the_docs() -> None:
    digests = re.findall(r"^digest `(\w+)`", (ROOT / "docs" / "replay.md").read_text(), re.MULTILINE)
    assert len(digests) == len(set(digests)) > 8


def test_a_year_of_too_few_records_is_refused(home: Path) -> None:
    with pytest.raises(Refusal, match="too few for 12 months"):
        run.script_of(recipes.load("small-fashion"), Options("small-fashion", "year", rows=8))


def test_a_fault_is_released_in_the_first_period_that_begins_after_a_third_of_the_time(home: Path) -> None:
    script = run.script_of(recipes.load("small-fashion"), Options("small-fashion", "slow-model", rows=300, days=60.0))
    (number,) = script.acts
    begins, whole = script.parts[0].begins, script.records.at[-1] - script.records.at[0]
    assert script.parts[number - 1].begins < begins + whole / 3 <= script.parts[number].begins
    assert script.changes == 0.0


@pytest.mark.parametrize(
    "periods",
    [[period_of(0)], [period_of(0, limit=None, wrong=0.0), period_of(5, limit=None, wrong=0.0)],
     [period_of(0, started=(RELEASED, FAILED), measured=Level(9.0, 8.0, 10.0, 4))]],
    ids=["one", "without a limit or a loss", "with a level far above"],
)  # fmt: skip
def test_a_replay_without_any_policy_has_a_picture(tmp_path: Path, periods: list[Period]) -> None:
    picture.draw(tmp_path / "replay.png", "a replay", False, Replay("bought", "none", 0.0, tuple(periods)), ())
    assert (tmp_path / "replay.png").read_bytes().startswith(b"\x89PNG")


def test_a_recipe_is_played_under_another_name_with_inputs_that_are_kept() -> None:
    recipe = recipes.load("fashion-mnist")
    own = played(recipe, records=500, window=100, causes=("harm",), recent=300, replay=200)
    assert own.name == "fashion-mnist-replay"
    assert own.batches[0].stop == 500
    assert own.log.inputs
    assert own.variants == (), "two plays would serve whichever measured faster"
    assert (own.watch.window, own.watch.causes, own.training.recent) == (100, ("harm",), 300)
    assert played(recipe).criteria == recipe.criteria, "thresholds hold for a model of all records"


# What if


def backtest_of(harm: bool) -> Backtest:
    """Rows whose label is decided by a column; with `harm` from the middle on in a way that nobody has seen."""
    contract = TableContract((Column("price", "number"), Column("age", "number")), target="bought")
    recipe, chance = recipe_of(contract), np.random.default_rng(5)

    def examples(count: int, new: float) -> Examples:
        inputs, is_new = np.zeros(count, contract.dtype), chance.random(count) < new
        price, inputs["age"] = chance.uniform(-1, 1, count), chance.normal(0, 1, count)
        inputs["price"] = np.where(is_new, price + 4, price)
        labels = ((price + 0.1 * chance.normal(0, 1, count) > 0) != is_new).astype(int)
        return Examples(inputs, labels)

    sides: dict[Side, Examples] = {"train": examples(600, 0), "validation": examples(100, 0), "test": examples(100, 0)}
    calm, later = examples(1000, 0), examples(1000, 1 if harm else 0)
    targets = np.concatenate([calm.targets, later.targets])
    at = np.arange(2000) * DAY / 100
    records = Stream(np.concatenate([calm.inputs, later.inputs]), targets, targets.tolist(), at, at + DAY / 4)
    return Backtest(recipe, sides, examples(2000, 0.3 if harm else 0), records, silent)


def test_harm_starts_a_retraining_that_saves_wrong_answers_and_a_calm_year_starts_none(
    home: Path, tmp_path: Path
) -> None:
    calm = backtest_of(harm=False)
    when = whatif.cadence([part.ends for part in streams.periods(calm.stream, 4 * DAY)], calm.stream)
    (nothing,) = whatif.compare(calm, ["loop"], when, 50.0, lambda line: None)
    assert nothing.retrainings == ()
    backtest = backtest_of(harm=True)
    outcomes = list(
        whatif.compare(backtest, ["never", "always fire", "cost-aware", "loop"], when, 50.0, lambda line: None)
    )
    never, always, cost_aware, loop = outcomes
    assert never.retrainings == ()
    assert {int(each.answers.sum()) for each in outcomes} == {2000}
    assert loop.retrainings
    assert min(each.at for each in loop.retrainings) > 10 * DAY
    assert float(loop.wrong.sum()) < 0.6 * float(never.wrong.sum())
    assert len(loop.retrainings) < len(always.retrainings)
    assert float(cost_aware.wrong.sum()) < float(never.wrong.sum())
    assert len(backtest.models) <= 1 + len(always.retrainings), "each model is trained once"
    path = tmp_path / "replay.png"
    played_once = replace(replay_of(*["harmful"] * 5), marks=((2 * DAY, "a change"),))
    picture.draw(path, "a replay", True, played_once, outcomes)
    picture.draw(path, "a what-if", True, None, outcomes)
    unfinished = replace(played_once, periods=played_once.periods[:1])
    picture.draw(path, "a replay that ended early", True, unfinished, outcomes)
    assert path.read_bytes().startswith(b"\x89PNG")
    rows = whatif.rows(played_once, outcomes)
    assert [row.name for row in rows] == ["never", "always fire", "cost-aware", "loop", "the real stack"]
    assert (rows[-1].answers, rows[-1].wrong) == (50, 5.0)
    assert json.dumps([float(each.seconds) for each in outcomes])


def test_what_becomes_known_later_changes_no_decision_and_no_training(home: Path) -> None:
    """The same until then, although every label that comes later is another one."""
    looks = tuple(day * DAY for day in (3.0, 6.0, 9.0, 13.0))
    backtest = backtest_of(harm=True)
    late = backtest.stream.label_at > looks[-1]
    labels = [1 - label if is_late else label for label, is_late in zip(backtest.stream.labels, late, strict=True)]
    other = replace(backtest, stream=backtest.stream.with_labels(labels), models={})
    decisions = []
    for each in (backtest, other):
        outcomes = whatif.compare(each, ["cost-aware", "loop"], whatif.Cadence(looks, ()), 5.0, silent)
        decisions.append([[(done.at, done.why, done.released) for done in one.retrainings] for one in outcomes])
    assert decisions[0] == decisions[1]
    assert all(decisions[0])
    assert backtest.models.keys() == other.models.keys()
    assert all(np.array_equal(backtest.models[known].outputs, other.models[known].outputs) for known in backtest.models)


def test_a_candidate_is_compared_by_the_labels_that_came_back(home: Path) -> None:
    """Nobody knows that they are wrong: one that answers as they say is no worse on the newest."""
    backtest = backtest_of(harm=False)
    poisoned = [1 - label for label in backtest.stream.labels]
    backtest = replace(backtest, stream=backtest.stream.with_labels(poisoned), models={})
    champion = backtest.model(0)
    as_labelled = np.eye(2, dtype=np.float32)[poisoned]
    slightly = champion.on_benchmark.copy()
    slightly[0] = slightly[0][::-1]
    candidate = replace(champion, known=1500, outputs=as_labelled, on_benchmark=slightly)
    assert backtest.is_blessed(candidate, champion, champion)
    truth = np.eye(2, dtype=np.float32)[backtest.stream.targets]
    rival = replace(champion, outputs=as_labelled)
    assert not backtest.is_blessed(replace(candidate, outputs=truth), rival, champion), "as far as labels say"


# The home of a replay


def test_a_replay_has_a_home_and_ports_of_its_own_and_leaves_the_environment_as_it_was(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RATCHET_GATEWAY_LISTEN", "0.0.0.0")
    monkeypatch.setenv("RATCHET_LOG_MB", "0")
    monkeypatch.setenv("RATCHET_TICK_SECONDS", "1")
    settings.cache_clear()
    before = dict(os.environ)
    folder = homes.prepare("small-fashion", "records=500")
    with homes.entered(folder) as own:
        assert own.name == "small-fashion-replay"
        assert own.batches[0].stop == 500
        config = settings()
        assert config.home == folder
        assert (config.gateway_listen, config.log_mb, config.tick_seconds) == ("127.0.0.1", 256, 1.0)
        ports = {config.prefect_port, config.mlflow_port, config.gateway_port, config.envoy_admin_port}
        assert len(ports | {int(config.bento_ports.partition("-")[0])}) == 5
    assert dict(os.environ) == before
    assert "export RATCHET_CLOCK=" in (folder / homes.ENVIRONMENT).read_text()


def test_one_replay_of_a_recipe_runs_at_a_time(home: Path) -> None:
    refused = pytest.raises(Refusal, match="another replay of this recipe runs")
    with homes.only_one("small-fashion"), refused, homes.only_one("small-fashion"):
        pass


@pytest.mark.parametrize("fault", [faults.SLOW, faults.FAILING], ids=lambda fault: fault.name)
def test_a_fault_applies_to_the_service_as_it_is(fault: faults.Fault) -> None:
    source = (ROOT / "bentos" / "model.py").read_text()
    changed = faults.applied(source, fault)
    compile(changed, "model.py", "exec")
    assert fault.code.splitlines()[0] in changed


@pytest.mark.parametrize("name", ["fashion-mnist", "spam", "flight-delay", "flight-minutes"])
def test_a_recipe_of_few_records_has_comparisons_and_no_thresholds(name: str) -> None:
    own = played(recipes.load(name), records=1000)
    assert own.criteria.slices == recipes.load(name).criteria.slices
    assert own.criteria.margin >= 0.05
    assert own.criteria.latency_ms is None


def test_a_shift_of_labels_is_refused_for_numbers(home: Path) -> None:
    with pytest.raises(Refusal, match="there is no scenario 'label-shift'"):
        scenarios.of("label-shift", recipes.load("flight-minutes"))


# From one's own log


@pytest.fixture
def served(home: Path) -> Recipe:
    """A recipe of this home that has served forty images, of which thirty have a label."""
    recipe = recipes.load("small-fashion")
    ingest.land_feed(recipe, recipe.batches[0], "tester")
    for batch in quarantine.pending(ingest.lake(recipe.name)):
        quarantine.admit_landed(ingest.lake(recipe.name), batch, "tester")
    begins, rows = time.time() + 60, list[bytes]()
    for number in range(40):
        image = np.random.default_rng(number).integers(0, 255, (1, 28, 28), np.uint8)
        line = {"format": 1, "request": f"r{number}", "row": 0, "number": number, "at": begins + number, "subject": "",
                "origin": "caller", "revision": "v1-abc", "output": [0.0] * 9 + [1.0], "statistics": {"mean": 3.0},
                "input": base64.b64encode(recipe.contract.pack(image)).decode()}  # fmt: skip
        rows.append(json.dumps(line).encode())
    content = Segment(0, b"\n".join(rows) + b"\n")
    predictions.land_predictions(recipe.name, "p" * 16, "here", [content], 0, "tester")
    predictions.add_feedback(recipe.name, {(f"r{number}", 0): "Bag" for number in range(30)}, "file", "tester")
    outcomes.update(recipe, "tester")
    return recipe


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_what_if_plays_what_has_an_input_and_a_label_and_changes_nothing(served: Recipe, home: Path) -> None:
    load_benchmark(served)  # which is read once for a home
    before = files_of(home / "lake")
    result = CliRunner().invoke(cli, ["replay", served.name, "--from", str(home), "--policies", "never,loop", "--json"])
    assert result.exit_code == 0, result.output
    assert "30 predictions of small-fashion have an input and a label" in result.stderr
    content = json.loads(result.stdout)
    never, loop = content["policies"]
    assert [each["answers"] for each in content["totals"]] == [30, 30]
    assert never["wrong"] == loop["wrong"]
    assert 0 <= sum(never["wrong"]) <= 30
    assert files_of(home / "lake") == before
    assert (home / "replays" / "small-fashion" / "what-if" / "replay.png").exists()


def test_other_settings_are_played_beside_the_recipes_own(served: Recipe, home: Path) -> None:
    load_benchmark(served)
    arguments = ["replay", served.name, "--from", str(home), "--policies", "loop", "--budget", "1"]
    result = CliRunner().invoke(cli, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    assert [each["policy"] for each in content["policies"]] == ["loop", "loop, as it is"]
    assert len(streams.of_log(served, 10)) == 10
    assert (content["options"]["budget"], content["options"]["source"]) == (1, str(home))
    assert run.what_if_title(Options("r", budget=1, causes=("harm",))).endswith("have done (causes harm, budget 1)")
    assert run.what_if_title(Options("r", source=str(home))) == "what would have been done"
    useless = CliRunner().invoke(cli, [*arguments, "--triggers", "drift"])
    assert useless.exit_code == 2
    assert "name harm or labels" in useless.output


def test_a_what_if_without_an_input_and_a_label_is_refused(home: Path) -> None:
    (home / "lake").mkdir(parents=True)
    result = CliRunner().invoke(cli, ["replay", "small-fashion", "--from", str(home)])
    assert isinstance(result.exception, Refusal)
    assert "0 predictions of it have a label" in str(result.exception)


def test_a_budget_is_for_a_what_if(home: Path) -> None:
    result = CliRunner().invoke(cli, ["replay", "small-fashion", "--budget", "2"])
    assert result.exit_code == 2
    assert "--budget is for --from" in result.output
