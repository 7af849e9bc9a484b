"""What an answer costs. Pure: the figures are measured elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from ratchet.words import Check, Outcome

LATENCY = "latency, ms"


def checks(
    milliseconds: float, most_milliseconds: float | None, megabytes: float, most_megabytes: float | None
) -> list[Check]:
    """Of one answer alone on one core, warm, the median; and of the files that a bento holds of the model."""
    asked = ((LATENCY, milliseconds, most_milliseconds), ("size, MB", megabytes, most_megabytes))
    return [_check(name, figure, most) for name, figure, most in asked]


def too_slow(checks: Sequence[Check]) -> bool:
    """Whether one of these was refused for its latency."""
    return any(c.name == LATENCY and c.outcome == "fail" for c in checks)


def _check(name: str, figure: float, most: float | None) -> Check:
    if most is None:
        return Check(name, figure, None, "not asked", f"{figure:.3g}; the recipe sets no bound")
    outcome: Outcome = "pass" if figure <= most else "fail"
    return Check(name, figure, most, outcome, f"{figure:.3g}, at most {most}")
