"""How it is with what serves, in three tiers: measured by labels, estimated by certainty, and changed inputs. Pure.

A loss above its limit is harmful, whether measured or estimated. A change is benign as long as one of these says that
the loss is within its limit, and of unknown effect as long as neither can. A change explains, and asks for labels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from expectations import estimated, measured
from expectations.changed import Change
from ratchet.types import Effect, Finding, Level, Promise, Watched

_Z = 1.96
_YEAR = 365 * 86400.0


@dataclass(frozen=True)
class Served:
    """What callers got from a revision, in the order of time, and the labels that came back."""

    at: np.ndarray
    """When [N], in seconds since 1970."""
    certainties: np.ndarray
    """Of the answers [N]."""
    labelled_at: np.ndarray
    """When the answers to the labels [M] were given, in the order in which the labels came."""
    losses: np.ndarray
    """By the labels [M], in the task's own unit."""
    labelled_certainties: np.ndarray
    """Of the answers [M]."""


def watched(
    recipe: str,
    revision: str,
    promise: Promise,
    tolerance: float,
    served: Served,
    changes: Sequence[Change],
    window: int,
) -> Watched:
    """The state of a revision. `changes` are those of its newest full window of so many predictions."""
    limit = min(1.0, promise.loss + _Z * promise.deviation / math.sqrt(max(promise.records, 1)) + tolerance)
    losses = np.minimum(served.losses / promise.scale, 1.0)
    findings = list(_measured(losses, served, limit, promise.loss))
    level, remarks = _estimate(promise, served, losses, window)
    if level and level.low > limit:
        since = float(served.at[-window:][0])
        what = f"the estimated loss is {level.loss:.4f}, and {promise.loss:.4f} was promised"
        sure = f"95 % from {level.low:.4f} to {level.high:.4f}, limit {limit:.4f}"
        findings.append(Finding("estimated", what, "harmful", since, sure))
    recent = measured.level(losses[-window:]) if len(losses) else None
    effect = _effect(findings, recent, level, limit)
    began = float(served.at[-window:][0]) if len(served.at) else 0.0
    findings += [Finding("changed", each.what, effect, began, each.sure, each.column) for each in changes]
    return Watched(
        recipe, revision, promise.loss, limit, len(served.at), recent, level, tuple(findings), tuple(remarks)
    )


def _measured(losses: np.ndarray, served: Served, limit: float, promised: float) -> Sequence[Finding]:
    if not len(losses):
        return ()
    seconds = max(float(served.labelled_at.max() - served.labelled_at.min()), 3600.0)
    threshold = measured.threshold(len(losses) / seconds * _YEAR)
    alarm = measured.alarm(losses, limit, threshold)
    if alarm is None:
        return ()
    level = measured.level(losses[alarm.since :])
    what = f"the loss is {level.loss:.4f} by {level.records} labels, and {promised:.4f} was promised"
    sure = f"evidence {alarm.evidence:.3g}, limit {threshold:.3g}: by chance at most once a year"
    return (Finding("measured", what, "harmful", float(served.labelled_at[alarm.since]), sure),)


def _estimate(promise: Promise, served: Served, losses: np.ndarray, window: int) -> tuple[Level | None, list[str]]:
    """The estimate of the newest window, and why there is none."""
    certainties = served.certainties[-window:]
    if len(certainties) < estimated.MIN_RECORDS:
        return None, [f"{len(certainties)} predictions are too few for an estimate or a comparison"]
    if estimated.is_wrong(promise, served.labelled_certainties[-window:], losses[-window:]):
        return None, ["the estimate is switched off: labels show another loss than the certainty of the answers says"]
    return estimated.level(promise, certainties), []


def _effect(findings: Sequence[Finding], recent: Level | None, estimate: Level | None, limit: float) -> Effect:
    if findings:
        return "harmful"
    enough = recent is not None and recent.records >= estimated.MIN_RECORDS
    known = recent if enough else estimate
    if known is None:
        return "unknown"
    return "benign" if known.high <= limit or (known.loss <= limit and enough) else "unknown"
