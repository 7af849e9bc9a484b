"""The interval of a proportion. Pure."""

import math

_Z = 1.96


def interval(proportion: float, count: int) -> tuple[float, float]:
    """(low, high) at 95 % of a proportion of `count` records. Source: Wilson, JASA 22, 1927."""
    variance = proportion * (1 - proportion) / count + _Z**2 / (4 * count**2)
    scale = 1 + _Z**2 / count
    mid, half = (proportion + _Z**2 / (2 * count)) / scale, _Z * math.sqrt(variance) / scale
    return mid - half, mid + half
