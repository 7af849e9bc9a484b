"""What an answer costs. Pure: the figures are measured elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from ratchet.words import Check, Outcome

LATENCY, MEMORY = "latency, ms", "memory, MB"


def checks(
    milliseconds: float, most_milliseconds: float | None, megabytes: float, most_megabytes: float | None,
    memory: float, most_memory: float,
) -> list[Check]:  # fmt: skip
    """Of one answer alone on one core, warm, the median; of the files that a bento holds of the model; of memory."""
    asked = ((LATENCY, milliseconds, most_milliseconds), ("size, MB", megabytes, most_megabytes),
             (MEMORY, memory, most_memory))  # fmt: skip
    return [_check(name, figure, most) for name, figure, most in asked]


def measured_badly(checks: Sequence[Check]) -> bool:
    """Whether one of these was refused for what a machine took at a moment: another may show it better."""
    return any(c.name in (LATENCY, MEMORY) and c.outcome == "fail" for c in checks)


def _check(name: str, figure: float, most: float | None) -> Check:
    if most is None:
        return Check(name, figure, None, "not asked", f"{figure:.3g}; the recipe sets no bound")
    outcome: Outcome = "pass" if figure <= most else "fail"
    return Check(name, figure, most, outcome, f"{figure:.3g}, at most {most}")
