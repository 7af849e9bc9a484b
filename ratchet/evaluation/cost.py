"""What a prediction costs. Pure: the figures are measured elsewhere."""

from collections.abc import Sequence

from ratchet.types import Check, Outcome, Role

Limited = tuple[float, float | None]
"""A value and its maximum, if the recipe sets one."""


def checks(latency_ms: Limited, size_mb: Limited, memory_mb: Limited) -> list[Check]:
    """The median latency of one warm prediction on one core, the size of the model's files, and its memory."""
    sizes = _check("size, MB", *size_mb, "check"), _check("memory, MB", *memory_mb, "cost")
    return [_check("latency, ms", *latency_ms, "cost"), *sizes]


def should_measure_again(checks: Sequence[Check]) -> bool:
    """Whether a check failed for what a machine measured at that moment; another measurement may pass."""
    return any(check.role == "cost" and check.outcome == "failed" for check in checks)


def _check(name: str, value: float, maximum: float | None, role: Role) -> Check:
    if maximum is None:
        return Check(name, value, None, "skipped", f"{value:.3g}; the recipe sets no limit", role=role)
    outcome: Outcome = "passed" if value <= maximum else "failed"
    return Check(name, value, maximum, outcome, f"{value:.3g}, limit {maximum}", role=role)
