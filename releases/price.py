"""What a release costs at most: wrong answers beyond the champion's, whatever is wrong with the new version. Pure.

The check `wrong` ends a release once labels show that the version is wrong more often than the champion. Until then, at
every number of labelled answers, the number of wrong ones is below the boundary of that check, in whatever order they
come and whatever fault causes them: that is arithmetic, and no assumption about the version. Answers to callers whose
label is still on its way, or never comes, may all be wrong. Answers to mirrored requests may all be right: nobody
receives them, and they move the boundary.

Two things are random, and half of `false_alarm` goes to each: the champion's rate of wrong answers, of which an
interval is known, and how many of its answers in the release are wrong, which moves the boundary as well
(`evidence.interval`, at every number of answers at once). What callers send and when labels come is taken as it was.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, product

import numpy as np

from ratchet.recipe import ReleasePlan
from releases import evidence
from releases.labels import MAX_KEPT

_EVALUATIONS, _FEWEST = 4000, 30
"""Moments at which the cost is computed: of all releases together, and of each, at least."""
_SMALLEST = 1e-12
_REACTION_SECONDS = 5.0
"""From a label that decides until the gateway sends the version no more requests."""


@dataclass(frozen=True)
class Traffic:
    """What callers send to a recipe."""

    rate: float
    """Answers a second."""
    label_seconds: float | None
    """Time in which the label of an answer comes back; None if none does that could end a release."""
    wrong: tuple[float, float]
    """The interval of the champion's share of wrong answers, at a confidence of 1 - `uncertainty`."""
    labelled: float = 1.0
    """The share of answers whose label comes back in that time."""


@dataclass(frozen=True)
class Price:
    """With this confidence, at most so many, until the bake time of the release ends."""

    exposed: int
    """Answers that callers receive from the version, if nothing ends its release sooner."""
    wrong: int
    """Wrong answers beyond the champion's. Without labels in time it is `exposed`."""
    confidence: float
    by_labels: bool
    """Whether labels bound it."""


def uncertainty(plan: ReleasePlan) -> float:
    """The probability of each of the two: that the champion's rate, or what it answers, is outside of its interval."""
    return plan.false_alarm / 2


def price(plan: ReleasePlan, traffic: Traffic) -> Price:
    """The price of a release by the plan, however long each step takes, within its limit."""
    confidence = 1 - plan.false_alarm
    slowest = [1.0] * len(plan.steps)
    exposed = sum(phase.callers * phase.seconds for phase in _phases(plan, slowest)) * traffic.rate
    if traffic.label_seconds is None or traffic.label_seconds * traffic.rate > MAX_KEPT:
        return Price(round(exposed), round(exposed), confidence, by_labels=False)
    # The cost is largest where each step is as short or as long as it can be: short ones show little of the champion.
    releases = list(product(*((0.0, 1.0) if step.weight or step.mirror else (0.0,) for step in plan.steps)))
    moments = max(_FEWEST, _EVALUATIONS // len(releases))
    worst = max(
        cost
        for shares in releases
        for cost in _costs(plan, _phases(plan, shares), traffic, traffic.label_seconds + _REACTION_SECONDS, moments)
    )
    return Price(round(exposed), min(round(exposed), math.ceil(worst)), confidence, by_labels=True)


@dataclass(frozen=True)
class _Phase:
    """One step, or the bake time, with shares of the requests."""

    seconds: float
    callers: float
    """Those that the version answers to callers."""
    mirrored: float
    """Those that it answers as well, while callers receive the champion's answer."""
    baseline: float
    """Those that the champion answers."""


def _phases(plan: ReleasePlan, shares: Sequence[float]) -> list[_Phase]:
    """With steps that take these shares of their time."""
    steps = [
        _Phase(share * plan.step_seconds, step.weight / 100, step.mirror / 100, 1 - step.weight / 100)
        for step, share in zip(plan.steps, shares, strict=True)
    ]
    return [*steps, _Phase(plan.bake_seconds, 1.0, 0.0, plan.bake_mirror / 100)]


def _costs(plan: ReleasePlan, phases: Sequence[_Phase], traffic: Traffic, delay: float, count: int) -> Iterator[float]:
    """The cost at most if the release ends at each of many moments, a `delay` after the last label that it has seen."""
    ends = list(accumulate(phase.seconds for phase in phases))
    turns = [min(end + late, ends[-1]) for end in ends for late in (0.0, delay)]
    for moment in sorted({*np.linspace(0.0, ends[-1], count), *turns}):
        given = _answers(phases, moment).callers * traffic.rate
        seen, share = _answers(phases, moment - delay), traffic.rate * traffic.labelled
        labelled, mirrored, baseline = (share * part for part in (seen.callers, seen.mirrored, seen.baseline))
        for wrong in traffic.wrong:
            known = excess(plan, int(labelled), int(mirrored), int(baseline), wrong)
            yield known + (given - labelled) * (1 - wrong)


def _answers(phases: Sequence[_Phase], moment: float) -> _Phase:
    """What was answered until a moment, at one request a second."""
    callers, mirrored, baseline, start = 0.0, 0.0, 0.0, 0.0
    for phase in phases:
        seconds = min(max(moment - start, 0.0), phase.seconds)
        callers += phase.callers * seconds
        mirrored += phase.mirrored * seconds
        baseline += phase.baseline * seconds
        start += phase.seconds
    return _Phase(moment, callers, mirrored, baseline)


def excess(plan: ReleasePlan, labelled: int, mirrored: int, baseline: int, wrong: float) -> float:
    """Wrong answers beyond the champion's among `labelled` ones to callers, at most, before the check fails.

    `mirrored` and `baseline` are the labelled answers of the version to mirrored requests, and those of the champion,
    which is wrong at the rate `wrong`.
    """
    alpha = evidence.alpha(plan)
    most_of_champion = most_wrong(baseline, wrong, uncertainty(plan))
    limit = evidence.interval(most_of_champion, baseline, alpha)[1] + plan.wrong.tolerance
    return min(labelled, most_wrong(labelled + mirrored, limit, alpha)) - wrong * labelled


def most_wrong(total: int, limit: float, alpha: float) -> int:
    """The most wrong answers of so many whose rate need not be above the limit: its lower bound is not."""
    if limit >= 1:
        return total
    limit = max(limit, _SMALLEST)
    low, high = int(limit * total), total
    while low < high:
        middle = (low + high + 1) // 2
        is_above = middle / total > limit and evidence.log_evidence(middle, total, limit) >= -math.log(alpha)
        low, high = (low, middle - 1) if is_above else (middle, high)
    return low
