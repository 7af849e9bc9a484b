"""The paired bootstrap interval of a difference in accuracy. Pure.

Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13 (percentile
interval). Each input gives -1, 0 or +1, so that resampling images is a multinomial draw of counts.
"""

from __future__ import annotations

import numpy as np

DRAWS = 20_000
LEVEL = 0.95


def difference(mine: np.ndarray, theirs: np.ndarray, seed: int = 0, level: float = LEVEL) -> tuple[float, float, float]:
    """(difference, low, high) of accuracy, mine minus theirs, over the same inputs, at this level.

    Both are booleans [N]: was the answer right.
    """
    delta = mine.astype(int) - theirs.astype(int)
    n = len(delta)
    shares = [(delta == value).sum() / n for value in (-1, 0, 1)]
    draws = np.random.default_rng(seed).multinomial(n, shares, size=DRAWS)
    figures = (draws[:, 2] - draws[:, 0]) / n
    low, high = np.quantile(figures, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(delta.mean()), float(low), float(high)


def relative(mine: np.ndarray, theirs: np.ndarray, block: int, seed: int = 0) -> tuple[float, float, float]:
    """(ratio, low, high) of two mean errors, less one, over the same windows in the order of time.

    Neighbours share hours, so whole blocks of `block` windows are drawn, around the end to the start.
    Source: Politis and Romano, A circular block-resampling procedure for stationary data, 1992.
    """
    n = len(mine)
    size = min(block, n)
    starts = np.random.default_rng(seed).integers(n, size=(DRAWS // 10, -(-n // size)))

    def drawn(errors: np.ndarray) -> np.ndarray:
        sums = np.concatenate([[0.0], np.cumsum(np.concatenate([errors, errors[:size]]))])
        return (sums[starts + size] - sums[starts]).sum(axis=1)

    ratios = drawn(mine) / drawn(theirs) - 1
    low, high = np.quantile(ratios, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(mine.mean() / theirs.mean() - 1), float(low), float(high)
