"""What a release costs at most: wrong answers beyond the champion's, whatever is wrong with the new version. Pure.

The check `wrong` ends a release once labels show that the version is wrong more often than the champion. Until then, at
every number n of labelled answers, the number of wrong ones is below the boundary of that check, in whatever order they
come and whatever fault causes them: that is arithmetic, and no assumption about the version. Answers whose label is
still on its way, or never comes, may all be wrong. Only the champion's own rate is random, within its interval (see
`evidence.interval`) at every number of labels at once.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ratchet.recipe import ReleasePlan
from releases import evidence
from releases.labels import MAX_KEPT

_MOMENTS, _SPEEDS = 800, (0.0, 0.1, 0.3, 0.6, 1.0)
"""The moments of a release, and the shares of their time that its steps take, at which its cost is computed."""

_SMALLEST = 1e-12
_REACTION_SECONDS = 5.0
"""From a label that decides until the gateway sends the version no more requests."""


@dataclass(frozen=True)
class Traffic:
    """What callers send to a recipe."""

    rate: float
    """Requests a second."""
    label_seconds: float | None
    """Time in which the label of an answer comes back; None if none does."""
    wrong: float
    """The champion's share of wrong answers."""
    labelled: float = 1.0
    """The share of answers whose label comes back at all."""


@dataclass(frozen=True)
class Price:
    """With probability `sure`, at most so many."""

    exposed: int
    """Answers that the version gives until its release is over, if nothing ends it sooner."""
    wrong: int
    """Wrong answers beyond the champion's. Without labels in time it is `exposed`."""
    sure: float
    by_labels: bool
    """Whether labels bound it."""


def price(plan: ReleasePlan, traffic: Traffic) -> Price:
    """The price of a release by the plan, however long each step takes."""
    sure = 1 - plan.false_alarm
    exposed = sum(phase.share * phase.seconds for phase in _phases(plan, 1.0)) * traffic.rate
    if traffic.label_seconds is None or traffic.label_seconds * traffic.rate > MAX_KEPT:
        return Price(round(exposed), round(exposed), sure, by_labels=False)
    worst = max(cost for speed in _SPEEDS for cost in _costs(plan, traffic, traffic.label_seconds, speed))
    return Price(round(exposed), min(round(exposed), math.ceil(worst)), sure, by_labels=True)


@dataclass(frozen=True)
class _Phase:
    """One step, or the bake time, with the shares of the traffic that both revisions answer."""

    seconds: float
    share: float
    baseline: float


def _phases(plan: ReleasePlan, speed: float) -> list[_Phase]:
    """With steps that take this share of their time: a fast release has seen few labels when all traffic moves."""
    steps = [_Phase(speed * plan.step_seconds, step.weight / 100, 1 - step.weight / 100) for step in plan.steps]
    return [*steps, _Phase(plan.bake_seconds, 1.0, plan.bake_mirror / 100)]


def _costs(plan: ReleasePlan, traffic: Traffic, label_seconds: float, speed: float) -> Iterator[float]:
    """The cost at most if the release ends at each of many moments."""
    phases = _phases(plan, speed)
    for moment in np.linspace(0, sum(phase.seconds for phase in phases), _MOMENTS):
        given, _ = _answers(phases, moment, traffic.rate)
        seen = _answers(phases, moment - label_seconds - _REACTION_SECONDS, traffic.rate)
        labelled, baseline = (traffic.labelled * count for count in seen)
        yield excess(plan, int(labelled), int(baseline), traffic.wrong) + given - labelled


def _answers(phases: list[_Phase], moment: float, rate: float) -> tuple[float, float]:
    """What the version and the champion have answered until a moment."""
    version, champion, start = 0.0, 0.0, 0.0
    for phase in phases:
        seconds = min(max(moment - start, 0.0), phase.seconds)
        version, champion = version + phase.share * seconds * rate, champion + phase.baseline * seconds * rate
        start += phase.seconds
    return version, champion


def excess(plan: ReleasePlan, labelled: int, baseline: int, wrong: float) -> float:
    """Wrong answers beyond the champion's among `labelled` ones, at most, before the check fails.

    `baseline` are the champion's labelled answers, of which the share `wrong` is.
    """
    high = evidence.interval(round(wrong * baseline), baseline, evidence.alpha(plan))[1]
    return most_wrong(labelled, min(1.0, high + plan.wrong.tolerance), evidence.alpha(plan)) - wrong * labelled


def most_wrong(total: int, limit: float, alpha: float) -> int:
    """The most wrong answers among so many with which the check does not fail: their lower bound is at the limit."""
    if limit >= 1:
        return total
    limit = max(limit, _SMALLEST)
    low, high = int(limit * total), total
    while low < high:
        middle = (low + high + 1) // 2
        is_failed = middle / total > limit and evidence.log_evidence(middle, total, limit) >= -math.log(alpha)
        low, high = (low, middle - 1) if is_failed else (middle, high)
    return low
