"""Compares policies on the same stream, offline, and says what each would have cost."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ratchet.errors import Refusal
from ratchet.kinds import parts as kinds
from ratchet.lake import ingest, learning, table
from ratchet.lake.snapshot import Examples, examples, load_benchmark
from ratchet.lake.split import SIDES, Side
from ratchet.recipe import Recipe
from replays.laboratory import Laboratory, laboratory
from replays.offline import DAY, CostAware, Loop, Outcome, Policy, always, never, simulate
from replays.stream import Stream

Report = Callable[[str], None]


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
    sides = kinds.records(recipe.contract.kind).sides(recipe.contract, rows)
    first: dict[Side, Examples] = {side: examples(recipe, sides[side]) for side in SIDES}
    return laboratory(recipe, stream, first, load_benchmark(recipe)[0], report)


def of_home(recipe: Recipe, stream: Stream, report: Report) -> Laboratory:
    """One whose first version is trained on what was admitted before the first request of the stream.

    Raises Refusal if nothing was.
    """
    rows = table.read(ingest.lake(recipe.name) / "records")
    if rows is None:
        raise Refusal("no batch is admitted", recipe.name, "Choose the home in which it was trained")
    served = learning.batches(recipe.name)
    rows = rows.filter(~table.one_of("batch", served)) if served else rows
    began = pa.scalar(datetime.fromtimestamp(float(stream.at[0]), UTC), rows["captured_at"].type)
    earlier = rows.filter(pc.field("captured_at") < began)
    sides = kinds.records(recipe.contract.kind).sides(recipe.contract, earlier if earlier.num_rows else rows)
    first: dict[Side, Examples] = {side: examples(recipe, sides[side]) for side in SIDES}
    return laboratory(recipe, stream, first, load_benchmark(recipe)[0], report)


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
    return always


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
