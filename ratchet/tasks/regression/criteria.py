"""What a recipe requires of an evaluation of numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ratchet.bounds import NotNegative, Positive, Share

if TYPE_CHECKING:
    from ratchet.recipe import Recipe


@dataclass(frozen=True)
class RegressionCriteria:
    """A maximum error, and the margin within which a candidate counts as no worse than the champion.

    A model must also beat the constant that fits the training side best. A criterion that is None is skipped, and the
    report lists it as skipped.
    """

    error: Positive
    """Maximum of the mean absolute error, or of the mean squared one if the answers say so."""
    margin: NotNegative = 0.02
    """Share of the champion's error."""
    slices: tuple[str, ...] = ()
    """Slices that are compared one by one: `target` by thirds, and those of the kind of input."""
    slice_margin: NotNegative = 0.1
    """Share of the champion's error on that slice."""
    bias: NotNegative | None = None
    """Maximum of the mean error, in either direction."""
    better_than_constant: bool = True
    """Whether a model must be better than the constant that fits the training side best."""
    one_column: Share | None = 0.3
    """Maximum share of the best constant's error that one column of a table saves alone; more is suspected to leak."""
    unseen: Share | None = 0.5
    """Maximum share of the benchmark's tokens or categories that are new to the model."""
    latency_ms: Positive | None = None
    """Maximum median latency of one prediction on one core."""
    size_mb: Positive | None = None
    """Maximum size of the model's files."""


_ANY = 1e300
"""A limit that is none."""
CRITERIA = RegressionCriteria


def without_thresholds(criteria: RegressionCriteria) -> RegressionCriteria:
    """Comparisons alone."""
    return replace(criteria, error=_ANY, bias=None, latency_ms=None, size_mb=None)


def accepts(family: str) -> bool:
    """Every family does."""
    return True


def check(recipe: Recipe) -> None:
    """A number fits any criteria."""
