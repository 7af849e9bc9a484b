"""Paired bootstrap intervals of the loss of one model compared with another's. Pure."""

import numpy as np

DRAWS = 20_000
LEVEL = 0.95


def difference(losses: np.ndarray, others: np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """(difference, low, high) of two mean losses over the same records [N].

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13 (percentile interval). Records
    with the same difference are interchangeable, so resampling records is a multinomial draw of counts.
    """
    values, counts = np.unique(losses - others, return_counts=True)
    n = len(losses)
    draws = np.random.default_rng(seed).multinomial(n, counts / n, size=DRAWS)
    low, high = _percentiles(draws @ values / n)
    return float((losses - others).mean()), low, high


def ratio(losses: np.ndarray, others: np.ndarray, block: int, seed: int = 0) -> tuple[float, float, float]:
    """(ratio, low, high) of two mean losses, minus 1, over the same windows [N] in the order of time.

    Neighbouring windows share values, so whole blocks of `block` windows are drawn, wrapping from the end to the
    start. Source: Politis and Romano, A circular block-resampling procedure for stationary data, 1992.
    """
    n = len(losses)
    size = min(block, n)
    starts = np.random.default_rng(seed).integers(n, size=(DRAWS // 10, -(-n // size)))

    def resampled(values: np.ndarray) -> np.ndarray:
        sums = np.concatenate([[0.0], np.cumsum(np.concatenate([values, values[:size]]))])
        return (sums[starts + size] - sums[starts]).sum(axis=1)

    low, high = _percentiles(resampled(losses) / resampled(others) - 1)
    return float(losses.mean() / others.mean() - 1), low, high


def _percentiles(values: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
