"""Versions that try to cost more than `releases/price.py` says, against the check `wrong` of `releases/evidence.py`.

Labels are late; steps are as short or as long as they can be, or between; some versions know what the check will say;
and the check looks at every tick.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from ratchet.recipe import ReleasePlan
from releases import evidence
from releases.price import Traffic

TICK = 5.0
"""Seconds between two looks at the evidence."""
_HALVINGS = 40


@dataclass(frozen=True)
class Moment:
    """What a fault may depend on."""

    at: float
    """The share of the longest possible release that is over."""
    chance: np.ndarray
    """[N] in 0..1, drawn once for each version."""
    room: np.ndarray
    """[N] more wrong answers with which the check would not fail, if every label were there now."""


Fault = Callable[[Moment, np.ndarray], np.ndarray]
"""The number of answers [N] that are wrong whatever comes, of so many [N] that the version gives; more is cut off."""

FAULTS: dict[str, Fault] = {
    "always, at some rate": lambda moment, count: count * moment.chance,
    "sleeps, then all": lambda moment, count: count * (moment.at > moment.chance),
    "grows": lambda moment, count: count * moment.chance * moment.at,
    "one slice in ten": lambda moment, count: count * 0.1 * moment.chance,
    "as many as the check lets pass": lambda moment, count: moment.room,
    "as many as that, then all": lambda moment, count: np.where(moment.at > moment.chance, count, moment.room),
}


def log_evidence(bad: np.ndarray, total: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """`evidence.log_evidence` for arrays [N]."""
    mixture = gammaln(0.5 + bad) + gammaln(0.5 + total - bad) - gammaln(1.0 + total) - 2 * math.lgamma(0.5)
    result: np.ndarray = mixture - bad * np.log(rate) - (total - bad) * np.log1p(-rate)
    return result


def upper(bad: np.ndarray, total: np.ndarray, alpha: float) -> np.ndarray:
    """The upper bounds of `evidence.interval` for arrays [N]."""
    outside, inside = np.full(len(bad), 1 - 1e-12), bad / np.maximum(total, 1)
    for _ in range(_HALVINGS):
        middle = np.clip((outside + inside) / 2, 1e-12, 1 - 1e-12)
        is_excluded = log_evidence(bad, total, middle) >= -math.log(alpha)
        outside, inside = np.where(is_excluded, middle, outside), np.where(is_excluded, inside, middle)
    return np.where(total > 0, outside, 1.0)


def fails(new: tuple[np.ndarray, np.ndarray], limit: np.ndarray, alpha: float) -> np.ndarray:
    """Whether the lower bound of a rate is above a limit, for arrays [N] of bad ones and totals."""
    bad, total = new
    rate = np.clip(limit, 1e-12, 1 - 1e-12)
    is_above = (bad > limit * total) & (limit < 1)
    return is_above & (log_evidence(bad, total, rate) >= -math.log(alpha))


def costs(plan: ReleasePlan, traffic: Traffic, wrong: float, fault: Fault, versions: int, seed: int) -> np.ndarray:
    """The wrong answers beyond the champion's rate [N] that each release costs until it ends or is over.

    The champion is wrong at the rate `wrong`. Mirrored requests, which nobody is served by, are all answered rightly.
    """
    assert traffic.label_seconds is not None
    chance, alpha = np.random.default_rng(seed), evidence.alpha(plan)
    speeds = chance.random((versions, len(plan.steps)))
    speeds[::3], speeds[1::3] = 0, np.round(speeds[1::3])  # each step as short as can be, or as short or as long
    ends = np.cumsum(np.hstack([speeds * plan.step_seconds, np.full((versions, 1), plan.bake_seconds)]), axis=1)
    shares = np.array([*(step.weight / 100 for step in plan.steps), 1.0, 0.0])
    mirrors = np.array([*(step.mirror / 100 for step in plan.steps), 0.0, 0.0])
    baselines = np.array([*(1 - step.weight / 100 for step in plan.steps), plan.bake_mirror / 100, 0.0])
    longest, late = len(plan.steps) * plan.step_seconds + plan.bake_seconds, round(traffic.label_seconds / TICK)
    per_tick = max(1, round(traffic.rate * TICK))
    drawn, bad, given, mirrored, old_bad, old = chance.random(versions), *(np.zeros(versions) for _ in range(5))
    pending: list[tuple[np.ndarray, ...]] = []
    seen = [np.zeros(versions) for _ in range(4)]  # wrong and labelled answers of the version, and of the champion
    is_over = np.zeros(versions, bool)
    for number in range(int(longest / TICK)):
        at = number * TICK
        phase = (at >= ends).sum(axis=1)
        is_over |= phase >= len(plan.steps) + 1
        count, unseen, by_champion = (
            np.where(is_over, 0, chance.binomial(per_tick, part[phase])) for part in (shares, mirrors, baselines)
        )
        bad_champion = chance.binomial(by_champion, wrong)
        given, mirrored, old, old_bad = given + count, mirrored + unseen, old + by_champion, old_bad + bad_champion
        # What the check will say of all answers so far, once their labels are there.
        room = most_wrong(given + mirrored, _limit(plan, old_bad, old), alpha) - bad
        beyond = np.clip(np.round(fault(Moment(at / longest, drawn, room), count)), 0, count)
        new_bad = beyond + chance.binomial((count - beyond).astype(int), wrong)
        bad = bad + new_bad
        pending.append((new_bad, count + unseen, bad_champion, by_champion))
        if number >= late:
            seen = [total + part for total, part in zip(seen, pending[number - late], strict=True)]
        limit = _limit(plan, seen[2], seen[3])
        is_over |= fails((seen[0], seen[1]), limit, alpha)
    return bad - given * wrong


def _limit(plan: ReleasePlan, bad: np.ndarray, total: np.ndarray) -> np.ndarray:
    """The rate above which the version's must not be, by the champion's answers."""
    limit: np.ndarray = np.minimum(1.0, upper(bad, total, evidence.alpha(plan)) + plan.wrong.tolerance)
    return limit


def most_wrong(total: np.ndarray, limit: np.ndarray, alpha: float) -> np.ndarray:
    """`price.most_wrong` for arrays [N]."""
    low, high = np.floor(limit * total), total.astype(float)
    while (low < high).any():
        middle = np.ceil((low + high) / 2)
        is_above = fails((middle, total), limit, alpha)
        low, high = np.where(is_above | (low >= high), low, middle), np.where(is_above, middle - 1, high)
    return low
