"""Is the loss of what serves above what was promised? An e-detector, which may be looked at after every label. Pure.

For losses x in [0, 1] whose mean is at most m, and a bet b in (0, 1/m), the factor 1 + b (x - m) has a mean of at most
1. The Shiryaev-Roberts sum M_n = (1 + M_{n-1}) (1 + b (x_n - m)), and a mean of such sums over several bets, then rises
by at most 1 with each label on average. So the mean number of labels until it first reaches a threshold A is at least A
if nothing is wrong. An alarm stands until the same test of the opposite, with 1 - x and 1 - m, says as surely that the
loss is below m again; then it starts anew.

Sources: Shin, Ramdas, Rinaldo, E-detectors, 2023 (arXiv:2203.03532); Waudby-Smith, Ramdas, Estimating means of bounded
random variables by betting, JRSS B 86, 2024.
"""

from dataclasses import dataclass

import numpy as np

from ratchet.evaluation import proportion
from ratchet.types import Level

BETS = np.array([1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2])
"""As shares of the largest bet, 1/m: small ones find small shifts, large ones find large shifts soon."""
LEAST = 10_000
"""Labels without anything wrong until an alarm, on average, if labels are rare."""
MANY = 1e300


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


class _Detector:
    """Evidence that the mean of losses in 0..1 is above `limit`, of the losses since it was started."""

    def __init__(self, limit: float, start: int) -> None:
        self.limit = min(max(limit, 1e-6), 1 - 1e-6)
        self.sums, self.runs = np.zeros(len(BETS)), np.zeros(len(BETS))
        self.starts = np.full(len(BETS), start)

    def add(self, number: int, loss: float) -> float:
        """The evidence with one more loss."""
        factors = 1 + BETS / self.limit * (loss - self.limit)
        self.sums = np.minimum((1 + self.sums) * factors, MANY)
        self.starts = np.where(self.runs <= 0, number, self.starts)
        self.runs = np.maximum(0.0, self.runs + np.log(factors))
        return float(self.sums.mean())

    @property
    def since(self) -> int:
        """The number of the loss from which on they were larger, as far as can be seen."""
        return int(self.starts[int(self.runs.argmax())])


def alarm(losses: np.ndarray, limit: float, threshold: float) -> Alarm | None:
    """The alarm that stands after losses [N] in 0..1, in the order of time, whose mean should be at most `limit`.

    None if there was none, or if the losses since then are below the limit again.
    """
    harm, standing = _Detector(limit, 0), None
    relief = _Detector(1 - limit, 0)
    for number, loss in enumerate(losses.tolist()):
        if standing is None:
            evidence = harm.add(number, loss)
            if evidence >= threshold:
                standing, relief = Alarm(number, harm.since, evidence), _Detector(1 - limit, number + 1)
        elif relief.add(number, 1 - loss) >= threshold:
            standing, harm = None, _Detector(limit, number + 1)
    return standing


def level(losses: np.ndarray) -> Level:
    """The mean of losses [N] in 0..1 with its interval."""
    return Level(float(losses.mean()), *proportion.of_mean(losses), len(losses))
