"""Assembles an evaluation report from its checks. Pure.

A candidate is rejected unless each check passed or was skipped: failed, inconclusive and error all reject it.
"""

from collections.abc import Sequence

from ratchet.types import Bins, Check, EvaluationReport


def report(
    recipe: str, version: str, champion: str | None, benchmark: str, checks: Sequence[Check], reliability: Bins = ()
) -> EvaluationReport:
    """The report on a version; `champion` is the version it was compared with, None for a first release."""
    bad = [check for check in checks if check.outcome not in ("passed", "skipped")]
    why = "; ".join(map(_sentence, bad)) or "every check passed"
    if champion is None:
        why = f"this is the first release, so there is no champion to compare with; {why}"
    return EvaluationReport(recipe, version, champion, not bad, why, benchmark, tuple(checks), reliability)


def _sentence(check: Check) -> str:
    outcome = "" if check.outcome == "failed" else f" ({check.outcome})"
    return f"{check.name}{outcome}: {check.detail}"
