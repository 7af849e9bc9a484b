"""What a benchmark promises of a version, against which it is watched. Pure."""

from collections.abc import Mapping

import numpy as np

from ratchet.types import Promise

_BINS, _LEAST, _POINTS = 30, 20, 101
"""Bins of certainty, the records that each should have, and quantiles."""
_QUANTILE, _TIMES = 0.99, 4.0


def promise(
    losses: np.ndarray, certainties: np.ndarray, predicted: Mapping[str, int], largest: float | None = None
) -> Promise:
    """From the losses [N] of the benchmark's records, and the certainties [N] of the answers to them.

    A loss is counted in shares of the `largest`. Where there is none, in quadruples of the 99th percentile, beyond
    which hardly any lies, since a bounded loss can be watched without an assumption about its tail.
    """
    scale = largest or _TIMES * float(np.quantile(losses, _QUANTILE)) or float(losses.max()) or 1.0
    shares = np.minimum(losses / scale, 1.0)
    bins = np.searchsorted(_edges(certainties), certainties, side="right")
    present, counts = np.unique(bins, return_counts=True)
    centres, means = (np.bincount(bins, values)[present] / counts for values in (certainties, shares))
    return Promise(
        loss=float(shares.mean()),
        deviation=float(shares.std()),
        records=len(losses),
        scale=scale,
        centres=tuple(map(float, centres)),
        losses=tuple(map(float, means)),
        counts=tuple(map(int, counts)),
        certainties=tuple(map(float, np.quantile(certainties, np.linspace(0, 1, _POINTS)))),
        predicted=predicted,
    )


def _edges(certainties: np.ndarray) -> np.ndarray:
    """Between bins of about as many records each."""
    bins = int(np.clip(len(certainties) // _LEAST, 1, _BINS))
    return np.unique(np.quantile(certainties, np.linspace(0, 1, bins + 1)[1:-1]))
