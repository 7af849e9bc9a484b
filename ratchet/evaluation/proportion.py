"""The intervals of a proportion, and of a mean. Pure."""

import math

import numpy as np

_Z = 1.96


def interval(proportion: float, count: int) -> tuple[float, float]:
    """(low, high) at 95 % of a proportion of `count` records. Source: Wilson, JASA 22, 1927."""
    variance = proportion * (1 - proportion) / count + _Z**2 / (4 * count**2)
    scale = 1 + _Z**2 / count
    mid, half = (proportion + _Z**2 / (2 * count)) / scale, _Z * math.sqrt(variance) / scale
    return mid - half, mid + half


def of_mean(values: np.ndarray) -> tuple[float, float]:
    """(low, high) at 95 % of the mean of values [N] in 0..1: Wilson's if each is 0 or 1, or by its standard error."""
    mean, count = float(values.mean()), len(values)
    if np.isin(values, (0.0, 1.0)).all():
        low, high = interval(mean, count)
    else:
        half = _Z * float(values.std(ddof=1)) / math.sqrt(count) if count > 1 else 1.0
        low, high = mean - half, mean + half
    return max(0.0, low), min(1.0, high)
