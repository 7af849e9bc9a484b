"""Do two samples come from the same distribution? The kernel two-sample test, by permutation. Pure."""

import numpy as np

_PERMUTATIONS = 999
_ROUNDING = 1e-12


def p_value(one: np.ndarray, other: np.ndarray, seed: int = 0) -> float:
    """The probability of so large a difference between samples [N, d] and [M, d] of the same distribution.

    The statistic is the maximum mean discrepancy with a Gaussian kernel whose width is the median distance. Source:
    Gretton, Borgwardt, Rasch, Schölkopf, Smola, A kernel two-sample test, JMLR 13, 2012.
    """
    both = np.concatenate([one, other]).astype(np.float64)
    lengths = (both**2).sum(axis=1)
    squares = np.maximum(lengths[:, None] + lengths[None, :] - 2 * both @ both.T, 0.0)
    width = float(np.median(squares[np.triu_indices(len(both), 1)])) or 1.0
    kernel = np.exp(-squares / width)
    weights = np.concatenate([np.full(len(one), 1 / len(one)), np.full(len(other), -1 / len(other))])
    permuted = np.random.default_rng(seed).permuted(np.tile(weights, (_PERMUTATIONS, 1)), axis=1)
    by_chance = ((permuted @ kernel) * permuted).sum(axis=1)
    return float((1 + (by_chance >= weights @ kernel @ weights - _ROUNDING).sum()) / (1 + _PERMUTATIONS))
