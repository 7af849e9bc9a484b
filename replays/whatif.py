"""Compares policies on the same stream, offline, and says what each would have cost."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ratchet.errors import Refusal
from ratchet.kinds import parts as kinds
from ratchet.lake import ingest, table
from ratchet.lake.snapshot import Examples, columns, examples, load_benchmark
from ratchet.lake.split import SIDES, Side
from ratchet.progress import Report
from ratchet.recipe import Recipe
from replays import POLICIES
from replays.laboratory import Laboratory
from replays.offline import DAY, CostAware, Loop, Outcome, Policy, always, never, simulate
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


def of_recipe(recipe: Recipe, stream: Stream, report: Report) -> Laboratory:
    """A laboratory whose first version is trained on the recipe's first batch."""
    rows = ingest.read_only(recipe, recipe.batches[0], ingest.benchmark(recipe)).accepted
    return _laboratory(recipe, rows, stream, report)


def of_home(recipe: Recipe, stream: Stream, report: Report) -> Laboratory:
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
    return _laboratory(recipe, pa.concat_tables(parts), stream, report)


def _laboratory(recipe: Recipe, rows: pa.Table, stream: Stream, report: Report) -> Laboratory:
    """One whose first version is trained on these records."""
    sides = kinds.records(recipe.contract.kind).sides(recipe.contract, rows)
    first: dict[Side, Examples] = {side: examples(recipe, sides[side]) for side in SIDES}
    return Laboratory(recipe, first, load_benchmark(recipe)[0], stream, report)


def compare(lab: Laboratory, names: Sequence[str], when: Cadence, price: float, report: Report) -> list[Outcome]:
    """The outcome of each policy. `price` is how many wrong answers a retraining is worth to the cost-aware one."""
    outcomes = []
    for name in names:
        report(f"policy: {name}")
        looks = when.nights if name == "nightly" else when.looks
        outcomes.append(simulate(lab, name, _policy(lab, name, looks, price), looks, gated=name == "loop"))
    return outcomes


def _policy(lab: Laboratory, name: str, looks: Sequence[float], price: float) -> Policy:
    match name:
        case "never":
            return never
        case "loop":
            return Loop(lab)
        case "cost-aware":
            return CostAware(lab, looks, price)
        case "nightly" | "always fire":
            return always
    raise Refusal(f"there is no policy {name!r}", lab.recipe.name, f"Choose from: {', '.join(POLICIES)}")


def summary(outcomes: Sequence[Outcome]) -> list[tuple[str, int, float, int, int, float]]:
    """For each policy: answers, the sum of their losses, retrainings, those that were released, seconds of training."""
    return [
        (
            each.policy,
            int(each.answers.sum()),
            float(each.wrong.sum()),
            len(each.retrainings),
            sum(retraining.released for retraining in each.retrainings),
            each.seconds,
        )
        for each in outcomes
    ]
