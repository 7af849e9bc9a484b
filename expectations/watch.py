"""The state of what serves, in three tiers: measured by labels, estimated by certainty, and changed inputs. Pure.

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
    """What callers got from a revision, and the labels that came back."""

    count: int
    """All predictions."""
    at: np.ndarray
    """When the newest ones [N] were made, oldest first, in seconds since 1970."""
    certainties: np.ndarray
    """Of these answers [N]."""
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
    changed_since: float,
) -> Watched:
    """The state of a revision. `changes` are those of its newest full window, which began at `changed_since`."""
    limit = limit_of(promise.loss, promise.deviation, promise.records, tolerance)
    losses = np.minimum(served.losses / promise.scale, 1.0)
    began = float(served.at[0]) if len(served.at) else 0.0
    is_recent = served.labelled_at >= began  # labels of older predictions say nothing of what changed since
    recent = measured.level(losses[is_recent]) if is_recent.any() else None
    findings = list(_measured(losses, served, limit, promise.loss))
    level, remarks = _estimate(promise, served, losses, is_recent)
    if level and level.low > limit:
        what = f"the estimated loss is {level.loss:.4f}, and {promise.loss:.4f} was promised"
        sure = f"95 % from {level.low:.4f} to {level.high:.4f}, limit {limit:.4f}"
        findings.append(Finding("estimated", what, "harmful", began, sure))
    effect = _effect(findings, recent, level, limit)
    findings += [
        Finding("changed", each.what, effect, changed_since, each.sure, each.column, each.fault) for each in changes
    ]
    return Watched(recipe, revision, promise.loss, limit, served.count, recent, level, tuple(findings), tuple(remarks))


def limit_of(loss: float, deviation: float, records: int, tolerance: float) -> float:
    """The loss above which a revision is harmed that promises this one, by a benchmark of so many records."""
    return min(1.0, loss + _Z * deviation / math.sqrt(max(records, 1)) + tolerance)


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


def _estimate(
    promise: Promise, served: Served, losses: np.ndarray, is_recent: np.ndarray
) -> tuple[Level | None, list[str]]:
    """The estimate of the newest predictions, and why there is none."""
    if len(served.certainties) < estimated.MIN_RECORDS:
        return None, [f"{len(served.certainties)} predictions are too few for an estimate or a comparison"]
    # What many labels have shown, a few of the newest do not take back.
    certainties = served.labelled_certainties
    if any(estimated.is_wrong(promise, certainties[rows], losses[rows]) for rows in (is_recent, slice(None))):
        return None, ["the estimate is switched off: labels show another loss than the certainty of the answers says"]
    return estimated.level(promise, served.certainties), []


def _effect(findings: Sequence[Finding], recent: Level | None, estimate: Level | None, limit: float) -> Effect:
    if findings:
        return "harmful"
    enough = recent is not None and recent.records >= estimated.MIN_RECORDS
    known = recent if enough else estimate
    return "benign" if known is not None and known.high <= limit else "unknown"
