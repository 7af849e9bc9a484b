"""The grid of a series' times: one every so many seconds, or one a business day or month. Needs only NumPy."""

import numpy as np

CALENDAR = ("business day", "month")
"""Steps that are not equally long. Which time of the day or month a value has, does not matter."""
SEASONS = {"business day": 5, "month": 12}
DAY = 86400
"""Seconds."""


def places(step: int | str, offset: int, seconds: np.ndarray) -> np.ndarray:
    """The numbers [N] of times on the grid, which are whole and count from 1970; times are seconds [N] after 1970.

    A time between two places of the grid has a fraction: the half for a day that is no business day.
    """
    since = np.asarray(seconds, np.float64) - offset
    if isinstance(step, int):
        return since / step
    days = np.floor(since / DAY).astype(np.int64).astype("datetime64[D]")
    if step == "month":
        return days.astype("datetime64[M]").astype(np.float64)
    assert step == "business day", "a contract is checked when it is read"
    return np.busday_count("1970-01-01", days) - np.where(np.is_busday(days), 0.0, 0.5)


def describe(step: int | str) -> str:
    """The step in words."""
    return f"{step} s" if isinstance(step, int) else step
