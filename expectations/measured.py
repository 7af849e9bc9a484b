"""Is the loss of what serves above what was promised? An e-detector, which may be looked at after every label. Pure.

For losses x in [0, 1] whose mean is at most m, and a bet b in (0, 1/m), the factor 1 + b (x - m) has a mean of at most
1. The Shiryaev-Roberts sum M_n = (1 + M_{n-1}) (1 + b (x_n - m)), and a mean of such sums over several bets, then rises
by at most 1 with each label on average. So the mean number of labels until it first reaches a threshold A is at least A
if nothing is wrong. Sources: Shin, Ramdas, Rinaldo, E-detectors, 2023 (arXiv:2203.03532); Waudby-Smith, Ramdas,
Estimating means of bounded random variables by betting, JRSS B 86, 2024.
"""

from dataclasses import dataclass

import numpy as np

from ratchet.evaluation import proportion
from ratchet.types import Level

_BETS = np.array([1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2])
"""As shares of the largest bet, 1/m: small ones find small shifts, large ones find large shifts soon."""
LEAST = 10_000
"""Labels without anything wrong until an alarm, on average, if labels are rare."""
_MANY = 1e300


@dataclass(frozen=True)
class Alarm:
    at: int
    """The number of the label at which the threshold was reached."""
    since: int
    """The number of the label from which on the loss was larger, as far as can be seen."""
    evidence: float


def threshold(labels_a_year: float) -> float:
    """The threshold with which a sound revision alarms at most once a year, on average."""
    return max(LEAST, labels_a_year)


def alarm(losses: np.ndarray, limit: float, threshold: float) -> Alarm | None:
    """The first alarm for losses [N] in 0..1, in the order of time, of which the mean should be at most `limit`."""
    limit = min(max(limit, 1e-6), 1 - 1e-6)
    sums, runs, starts = (np.zeros(len(_BETS)) for _ in range(3))
    factors = 1 + (_BETS / limit)[None, :] * (losses[:, None] - limit)
    for number, factor in enumerate(factors):
        sums = np.minimum((1 + sums) * factor, _MANY)
        starts = np.where(runs <= 0, number, starts)
        runs = np.maximum(0.0, runs + np.log(factor))
        evidence = float(sums.mean())
        if evidence >= threshold:
            best = int(runs.argmax())
            return Alarm(number, int(starts[best]), evidence)
    return None


def level(losses: np.ndarray) -> Level:
    """The mean of losses [N] in 0..1 with its interval."""
    return Level(float(losses.mean()), *proportion.of_mean(losses), len(losses))
