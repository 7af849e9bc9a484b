"""Compares policies on the same stream, offline, and says what each would have cost."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from ratchet.errors import Refusal
from ratchet.kinds import parts as kinds
from ratchet.lake import ingest, table
from ratchet.lake.snapshot import Examples, columns, examples, load_benchmark
from ratchet.lake.split import SIDES, Side
from ratchet.progress import Report
from ratchet.recipe import Recipe
from replays import OWN, POLICIES, STACK
from replays.backtest import Backtest
from replays.offline import DAY, CostAware, Loop, Outcome, Policy, always, never, simulate
from replays.play import Replay
from replays.stream import Stream


@dataclass(frozen=True)
class Cadence:
    """When a policy looks."""

    looks: tuple[float, ...]
    """Seconds since 1970."""
    nights: tuple[float, ...]


def cadence(ends: Sequence[float], stream: Stream) -> Cadence:
    """At the end of each period, and every night."""
    nights = np.arange(stream.at[0] + DAY, ends[-1], DAY)
    return Cadence(tuple(ends), (*map(float, nights), float(ends[-1])))


def of_recipe(recipe: Recipe, stream: Stream, report: Report) -> Backtest:
    """A backtest whose first version is trained on the recipe's first batch."""
    rows = ingest.read_only(recipe, recipe.batches[0], ingest.benchmark(recipe)).accepted
    return _backtest(recipe, rows, stream, report)


def of_home(recipe: Recipe, stream: Stream, report: Report) -> Backtest:
    """One whose first version is trained on the batches that were admitted before the first request of the stream.

    Raises Refusal if none was.
    """
    path, began = ingest.lake(recipe.name) / "records", float(stream.at[0])
    earlier = [commit.get("ratchet", "").removeprefix("admit:") for commit in table.history(path)
               if commit["timestamp"] / 1000 < began]  # fmt: skip
    parts = list(table.select(path, columns(recipe), table.one_of("batch", earlier)))
    if not parts:
        what = "no batch was admitted before the first request that can be played"
        raise Refusal(what, recipe.name, "Choose the home in which the first version was trained")
    return _backtest(recipe, pa.concat_tables(parts), stream, report)


def _backtest(recipe: Recipe, rows: pa.Table, stream: Stream, report: Report) -> Backtest:
    """One whose first version is trained on these records."""
    sides = kinds.records(recipe.contract.kind).sides(recipe.contract, rows)
    first: dict[Side, Examples] = {side: examples(recipe, sides[side]) for side in SIDES}
    return Backtest(recipe, first, load_benchmark(recipe)[0], stream, report)


def compare(backtest: Backtest, names: Sequence[str], when: Cadence, cost: float, report: Report) -> Iterator[Outcome]:
    """The outcome of each policy. `cost` is that of a retraining by the cost-aware one, in wrong answers."""
    for name in names:
        report(f"policy: {name}")
        looks = when.nights if name == "nightly" else when.looks
        yield simulate(backtest, name, _policy(backtest, name, looks, cost), looks, gated=name == "loop")


def with_own_settings(backtest: Backtest, recipe: Recipe, when: Cadence, report: Report) -> Outcome:
    """What the loop did, or would have done, with the settings that the recipe has."""
    (outcome,) = compare(replace(backtest, recipe=recipe), ["loop"], when, 0.0, report)
    return replace(outcome, policy=OWN)


def _policy(backtest: Backtest, name: str, looks: Sequence[float], cost: float) -> Policy:
    match name:
        case "never":
            return never
        case "loop":
            return Loop(backtest)
        case "cost-aware":
            return CostAware(backtest, looks, cost)
        case "nightly" | "always fire":
            return always
    raise Refusal(f"there is no policy {name!r}", backtest.recipe.name, f"Choose from: {', '.join(POLICIES)}")


@dataclass(frozen=True)
class Row:
    """What a policy, or the real stack, came to."""

    name: str
    answers: int
    wrong: float
    """The sum of the losses of the answers."""
    retrainings: int
    released: int
    seconds: float
    """Of CPU time in training; of the real stack, of whole runs by the clock."""


def rows(replay: Replay | None, outcomes: Sequence[Outcome]) -> list[Row]:
    """One for each policy, and one for the real stack, last."""
    compared = [
        Row(
            each.policy,
            int(each.answers.sum()),
            float(each.wrong.sum()),
            len(each.retrainings),
            sum(retraining.released for retraining in each.retrainings),
            each.seconds,
        )
        for each in outcomes
    ]
    if replay is None:
        return compared
    started = replay.started
    released, seconds = sum(run.released for run in started), sum(run.seconds for run in started)
    return [*compared, Row(STACK, replay.answered, replay.wrong, len(started), released, seconds)]
