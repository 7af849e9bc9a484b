"""What a recipe requires of an evaluation of forecasts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ratchet.bounds import NotNegative, Positive, Share

if TYPE_CHECKING:
    from ratchet.recipe import Recipe


@dataclass(frozen=True)
class ForecastCriteria:
    """A maximum mean squared error, and the margin within which a forecast counts as no worse than the champion's.

    A forecast must also beat the seasonal-naive baseline, and be no worse than the linear one by more than `linear`.
    """

    squared_error: NotNegative
    margin: NotNegative = 0.05
    """Share of the champion's error."""
    linear: NotNegative = 0.0
    """Share of the linear baseline's error by which a forecast may be worse; 0 means that it must be better."""
    slices: tuple[str, ...] = ()
    """Slices that are compared one by one: thirds by the `level` of a window."""
    slice_margin: NotNegative = 0.2
    """Share of the champion's error on that slice."""
    directional: Share | None = None
    """Minimum share of forecasts that rise if the whole window is raised."""
    one_column: None = None
    """A series has no columns."""
    unseen: None = None
    """A series has no vocabulary."""
    latency_ms: Positive | None = None
    size_mb: Positive | None = None


_ANY = 1e300
"""A limit that is none."""
CRITERIA = ForecastCriteria


def without_thresholds(criteria: ForecastCriteria) -> ForecastCriteria:
    """Comparisons alone."""
    return replace(criteria, squared_error=_ANY, directional=None, latency_ms=None, size_mb=None)


def accepts(family: str) -> bool:
    """Every family does."""
    return True


def check(recipe: Recipe) -> None:
    """A forecast fits any criteria."""
