"""What the loss of what serves is without labels, as far as the certainty of its answers says it. Pure.

Answers of like certainty should have like losses as on the benchmark. That holds while inputs change and what they
mean does not, so labels check it whenever they come. It is confidence-based performance estimation (NannyML's CBPE,
2022) with the calibration that the benchmark shows in bins, which serves every task that has a certainty.
"""

import numpy as np

from ratchet.types import Level, Promise

MIN_RECORDS = 100
"""Predictions below which nothing is estimated."""
_Z, _SURE = 1.96, 3.0
"""Standard errors of the interval, and of a difference by which labels show that the estimate is wrong."""


def expected(promise: Promise, certainties: np.ndarray) -> np.ndarray:
    """The loss [N] that is expected of answers of these certainties [N], between those of the nearest two bins."""
    return np.asarray(np.interp(certainties, promise.centres, promise.losses))


def level(promise: Promise, certainties: np.ndarray) -> Level:
    """The mean expected loss, with the uncertainty of the window and of the benchmark's bins."""
    losses, count, centres = expected(promise, certainties), len(certainties), np.array(promise.centres)
    nearest = np.searchsorted((centres[1:] + centres[:-1]) / 2, certainties)
    shares = np.bincount(nearest, minlength=len(centres)) / count
    of_loss = np.array(promise.losses) * (1 - np.array(promise.losses))  # the variance of a loss in 0..1, at most
    of_bins = float((shares**2 * of_loss / np.maximum(promise.counts, 1)).sum())
    half = _Z * float(np.sqrt(losses.var() / count + of_bins))
    mean = float(losses.mean())
    return Level(mean, max(0.0, mean - half), min(1.0, mean + half), count)


def is_wrong(promise: Promise, certainties: np.ndarray, losses: np.ndarray) -> bool:
    """Whether the losses [N] in 0..1 that labels show differ from what was expected of these answers [N]."""
    if len(losses) < MIN_RECORDS:
        return False
    differences = losses - expected(promise, certainties)
    error = float(differences.std(ddof=1)) / np.sqrt(len(losses))
    allowed = _SURE * max(error, 1e-9) + _bias(promise)
    return bool(abs(differences.mean()) > allowed)


def _bias(promise: Promise) -> float:
    """What the benchmark's own uncertainty explains."""
    return _Z * promise.deviation / float(np.sqrt(max(promise.records, 1)))
