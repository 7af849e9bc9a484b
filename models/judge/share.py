"""The interval of one share. Pure."""

from __future__ import annotations

import math

_Z = 1.96


def interval(share: float, count: int) -> tuple[float, float]:
    """(low, high) at 95 % of a share among so many. Source: Wilson, JASA 22, 1927."""
    mid = (share + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    room = _Z / (1 + _Z**2 / count) * math.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
    return mid - room, mid + room
