"""What a recipe requires of an evaluation of directions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ratchet.bounds import Positive, Share

if TYPE_CHECKING:
    from ratchet.recipe import Recipe


@dataclass(frozen=True)
class DirectionCriteria:
    similarity: Share
    """Minimum mean cosine."""
    margin: Share = 0.05
    slices: tuple[str, ...] = ()
    slice_margin: Share = 0.1
    one_column: None = None
    unseen: None = None
    latency_ms: Positive | None = None
    size_mb: Positive | None = None


CRITERIA = DirectionCriteria


def accepts(family: str) -> bool:
    """Every family does."""
    return True


def check(recipe: Recipe) -> None:
    """A direction fits any criteria."""
