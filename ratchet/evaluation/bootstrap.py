"""Paired bootstrap intervals of the loss of one model compared with another's. Pure."""

import numpy as np

DRAWS = 20_000
LEVEL = 0.95


def difference(
    losses: np.ndarray, others: np.ndarray, seed: int = 0, level: float = LEVEL
) -> tuple[float, float, float]:
    """(difference, low, high) of two mean losses over the same records [N].

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13 (percentile interval). Records
    with the same difference are interchangeable, so resampling records is a multinomial draw of counts.
    """
    values, counts = np.unique(losses - others, return_counts=True)
    n = len(losses)
    draws = np.random.default_rng(seed).multinomial(n, counts / n, size=DRAWS)
    low, high = _percentiles(draws @ values / n, level)
    return float((losses - others).mean()), low, high


def mean(values: np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """(mean, low, high) of the values [N], by the same method."""
    rng, n = np.random.default_rng(seed), len(values)
    low, high = _percentiles(np.array([values[rng.integers(n, size=n)].mean() for _ in range(DRAWS // 10)]))
    return float(values.mean()), low, high


def ratio(losses: np.ndarray, others: np.ndarray, block: int, seed: int = 0) -> tuple[float, float, float]:
    """(ratio, low, high) of two mean losses, minus 1, over the same windows [N] in the order of time.

    Neighbouring windows share values, so whole blocks of `block` windows are drawn, wrapping from the end to the
    start. Source: Politis and Romano, A circular block-resampling procedure for stationary data, 1992. It is not finite
    if the others have hardly any loss.
    """
    n = len(losses)
    size, rng = min(block, n), np.random.default_rng(seed)
    sums, other_sums = (
        np.concatenate([[0.0], np.cumsum(np.concatenate([values, values[:size]]))]) for values in (losses, others)
    )
    ratios = np.empty(DRAWS // 10)
    with np.errstate(divide="ignore", invalid="ignore"):
        for draw in range(len(ratios)):  # one by one: all at once would take gigabytes
            starts = rng.integers(n, size=-(-n // size))
            total, other = ((each[starts + size] - each[starts]).sum() for each in (sums, other_sums))
            ratios[draw] = total / other - 1
        low, high = _percentiles(ratios)
        return float(losses.mean() / others.mean() - 1), low, high


def _percentiles(values: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
