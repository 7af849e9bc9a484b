"""Which cause starts a retraining now, and why another does not. Pure.

One cause starts one run. No run starts while another is on its way, too soon after the last one, above the week's
budget, without anything new to learn from, or when retraining has not cured the same harm.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ratchet.types import Watched
from ratchet.watch_plan import Kind, Watch

WEEK = 7 * 86400.0
ENOUGH = 100
"""Records since a change began from which on it can be learnt."""
_TRIES, _TRY = 3, " (try "
"""Runs that one cause may start if they fail, and what separates its id from the number of the run."""
_CURES, _ATTEMPTS, _AGAIN = 2, 4, 2 * WEEK
"""After so many retrainings for harm that were released, or were over at all, a person must look, if harm came back
after each of them within so many seconds.
"""

_LATE = 60.0
"""Seconds by which clocks of two machines may differ."""


@dataclass(frozen=True)
class Cause:
    """Why a recipe should be retrained. The same id is the same cause."""

    id: str
    kind: Kind
    why: str


@dataclass(frozen=True)
class Past:
    """A cause that was recorded, and the run that it started."""

    id: str
    kind: Kind
    at: float
    started: float | None = None
    """What it took since then, until it ended or until now, are the seconds that its runs took together."""
    ended: float | None = None
    """When its last run ended, or died."""
    result: str | None = None
    """`released`, or what else the run ended with; None while it is not over."""
    run: str | None = None
    """The flow run that has it; None while none has."""
    why: str = ""
    attempts: int = 0
    """Runs that have had it."""


@dataclass(frozen=True)
class Obstacle:
    """Why a cause starts no run now."""

    why: str
    needs: str = ""
    """What a person must look at, in two words; empty if nobody must."""


@dataclass(frozen=True)
class Decision:
    cause: Cause
    obstacle: Obstacle | None

    @property
    def start(self) -> bool:
        return self.obstacle is None


def causes(
    state: Watched | None, plan: Watch, labelled: int, waiting: int, pending: Sequence[str], past: Sequence[Past]
) -> list[Cause]:
    """What might start a retraining now, the most urgent first. New labels make another cause of the same harm.

    `state` is None if nothing serves, `labelled` is the last turn of labels that were joined, `waiting` counts the
    labelled inputs that have not landed, and `pending` are the batches that wait for validation.
    """
    possible = list[Cause]()

    def add(base: str, kind: Kind, why: str) -> None:
        possible.append(Cause(id_of(base, past), kind, why))

    findings = state.findings if state else ()
    harmful = [finding for finding in findings if finding.effect == "harmful"]
    changed = [finding for finding in findings if finding.tier == "changed"]
    if state and harmful:
        add(f"harm {state.revision} up to {labelled}", "harm", harmful[0].what)
    if waiting >= plan.labels:
        add(f"labels up to {labelled}", "labels", f"{waiting} labelled inputs have come back")
    for batch in pending:
        add(f"batch {batch}", "batch", f"batch {batch} waits for validation")
    if state and changed and not harmful:
        add(f"drift {state.revision} up to {labelled}", "drift", changed[0].what)
    for failed in _failed_last(past):  # what called for it may have landed meanwhile, and the run did not come through
        cause = Cause(id_of(failed.id.partition(_TRY)[0], past), failed.kind, failed.why)
        possible += [cause] if cause.id not in {each.id for each in possible} else []
    return possible


def _failed_last(past: Sequence[Past]) -> list[Past]:
    """The last cause, if its run failed: one that came through later has done its work as well."""
    over = sorted((each for each in past if each.result), key=lambda each: each.ended or each.at)
    return [each for each in over[-1:] if each.result == "failed"]


def decisions(
    recipe: str,
    plan: Watch,
    possible: Sequence[Cause],
    past: Sequence[Past],
    new_records: int,
    now: float,
    fault: str = "",
    promoted_at: float = 0.0,
) -> list[Decision]:
    """A decision for each cause that was not recorded before; at most one starts a run.

    `new_records` are those since the change began that the champion was not trained on. `fault` says what may be broken
    about the inputs; empty if nothing seems to be. `promoted_at` is when the champion was promoted.
    """
    known, result, starts = {each.id for each in past}, list[Decision](), False
    for cause in possible:
        if cause.id in known:
            continue
        if starts:
            result.append(Decision(cause, Obstacle("another cause starts a run already")))
            continue
        obstacle = _obstacle(recipe, plan, cause, past, new_records, now, fault, promoted_at)
        result.append(Decision(cause, obstacle or _overspent(plan, past, now)))
        starts = result[-1].start
    return result


def _obstacle(
    recipe: str,
    plan: Watch,
    cause: Cause,
    past: Sequence[Past],
    new_records: int,
    now: float,
    fault: str,
    promoted_at: float,
) -> Obstacle | None:
    """Why the cause starts no run now, but for the budget; None if nothing keeps it from that."""
    started = [each for each in past if each.started is not None]
    last = max((each.started or 0.0 for each in started), default=None)
    cool = plan.cool_down_hours * 3600
    if cause.kind not in plan.causes:
        return Obstacle(f"the recipe's `watch.causes` do not name {cause.kind!r}")
    if waiting := next((each for each in past if each.result is None), None):
        return Obstacle(f"the cause {waiting.id!r} has its run, or waits for it")
    if fault:
        why = f"the source of the inputs may be broken, which a person must look at: {fault}"
        return Obstacle(why, "broken source")
    if cause.kind in ("harm", "drift") and new_records < ENOUGH:
        what = f"{new_records} records with a label have come since then, and {ENOUGH} are needed"
        return Obstacle(f"{what}: see `ratchet unsure {recipe}`")
    if cause.kind == "harm" and (count := _uncured(past, promoted_at, now)):
        return Obstacle(f"{count} retrainings did not cure it, so a person must look", "not cured")
    if last is not None and abs(now - last) < cool:  # the clock may have been set back
        ago = f"the last run started {(now - last) / 3600:.1f} h ago"
        return Obstacle(f"{ago}, and the cool-down is {plan.cool_down_hours:g} h")
    return None


def _overspent(plan: Watch, past: Sequence[Past], now: float) -> Obstacle | None:
    """Which budget of the week is spent; None if none is."""
    week = [each for each in past if each.started is not None and abs(now - each.started) < WEEK]
    runs = sum(max(each.attempts, 1) for each in week)
    spent = sum(max(0.0, (each.ended or now) - (each.started or now)) for each in week)
    if runs >= plan.runs_a_week:
        return Obstacle(f"the week's budget of {plan.runs_a_week} runs is spent", "budget spent")
    if spent >= plan.seconds_a_week:
        return Obstacle(f"the week's budget of {plan.seconds_a_week:,.0f} s is spent", "budget spent")
    return None


def id_of(base: str, past: Sequence[Past]) -> str:
    """The id of a cause, which is another one after each run for it that failed, up to a number."""
    failed = sum(each.id.partition(_TRY)[0] == base and each.result == "failed" for each in past)
    return f"{base}{_TRY}{failed + 1})" if 0 < failed < _TRIES else base


def _uncured(past: Sequence[Past], promoted_at: float, now: float) -> int:
    """How many retrainings for harm did not cure it, if these are enough that a person must look; else 0.

    A champion that somebody else released starts the count anew.
    """
    over = sorted((each for each in past if each.result and each.ended), key=lambda each: each.ended or 0.0)
    released = [each for each in over if (each.started or 0.0) <= promoted_at <= (each.ended or 0.0) + _LATE]
    since = -math.inf if any(each.kind == "harm" for each in released) else promoted_at
    row, next_at = list[Past](), now
    for each in reversed(over):
        ended = each.ended or 0.0
        if each.result in ("failed", "cancelled"):
            continue
        if each.kind != "harm" or ended < since or next_at - ended > _AGAIN:
            break
        row, next_at = [*row, each], each.at
    cures = sum(each.result == "released" for each in row)
    return len(row) if cures >= _CURES or len(row) >= _ATTEMPTS else 0


def may_roll_back(plan: Watch, phase: str, frozen: bool, harm: str) -> bool:
    """Whether measured harm may bring a former champion back: where harm is a cause, and no release is under way."""
    return bool(harm) and "harm" in plan.causes and phase == "idle" and not frozen


def should_compare(labels: int, last: int) -> bool:
    """Whether a former champion is compared with so many labelled inputs, after it was with `last` of them.

    Looking seldom keeps chance from bringing one back that is no better.
    """
    return labels >= ENOUGH and labels >= 2 * last
