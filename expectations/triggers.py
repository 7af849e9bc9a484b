"""Which cause starts a retraining now, and why another does not. Pure.

One cause starts one run. No run starts while another is on its way, too soon after the last one, above the week's
budget, without anything new to learn from, or when retraining has not cured the same harm twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ratchet.types import Watched
from ratchet.watch_plan import Kind, Watch

WEEK = 7 * 86400.0
ENOUGH = 100
"""Records since a change began from which on it can be learnt."""
_TRIES = 3
"""Runs that one cause may start if they fail."""
_CURES = 2
"""Retrainings for harm in a row that were released without a cure, after which a person must look."""


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
    kind: str
    at: float
    started: float | None = None
    ended: float | None = None
    result: str | None = None
    """`released`, or what else the run ended with; None while it is not over."""
    run: str | None = None
    """The flow run that has it; None while none has."""
    why: str = ""
    attempts: int = 0
    """Runs that have had it."""


@dataclass(frozen=True)
class Decision:
    cause: Cause
    start: bool
    why: str
    """Why it starts nothing; empty if it does."""
    overspent: bool = False
    """Whether nothing but the week's budget keeps it from starting."""


def causes(
    state: Watched, plan: Watch, learnt: int, waiting: int, pending: Sequence[str], past: Sequence[Past]
) -> list[Cause]:
    """What might start a retraining now, the most urgent first. New labels make another cause of the same harm.

    `learnt` is the last turn of labels that has landed, `waiting` counts the labelled inputs that have not, and
    `pending` are the batches that wait for validation.
    """
    possible = list[Cause]()

    def add(base: str, kind: Kind, why: str) -> None:
        possible.append(Cause(id_of(base, past), kind, why))

    harmful = [finding for finding in state.findings if finding.effect == "harmful"]
    changed = [finding for finding in state.findings if finding.tier == "changed"]
    if harmful:
        add(f"harm {state.revision} after {learnt}", "harm", harmful[0].what)
    if waiting >= plan.labels:
        add(f"labels after {learnt}", "labels", f"{waiting} labelled inputs have come back")
    for batch in pending:
        add(f"batch {batch}", "batch", f"batch {batch} waits for validation")
    if changed and not harmful:
        add(f"drift {state.revision} after {learnt}", "drift", changed[0].what)
    return possible


def decisions(
    recipe: str,
    plan: Watch,
    possible: Sequence[Cause],
    past: Sequence[Past],
    new_records: int,
    now: float,
    fault: str = "",
) -> list[Decision]:
    """A decision for each cause that was not recorded before; at most one starts a run.

    `new_records` are those since the change began that the champion was not trained on. `fault` says what may be broken
    about the inputs; empty if nothing seems to be.
    """
    known, overspent = {each.id for each in past}, _overspent(plan, past, now)
    result, starts = list[Decision](), False
    for cause in possible:
        if cause.id in known:
            continue
        why = (
            "another cause starts a run already"
            if starts
            else _obstacle(recipe, plan, cause, past, new_records, now, fault)
        )
        start = not why and not overspent
        starts |= start
        result.append(Decision(cause, start, why or overspent, overspent=not why and not start))
    return result


def _obstacle(
    recipe: str, plan: Watch, cause: Cause, past: Sequence[Past], new_records: int, now: float, fault: str
) -> str:
    """Why the cause starts no run now; empty if it does."""
    started = [each for each in past if each.started is not None]
    last = max((each.started or 0.0 for each in started), default=None)
    cool = plan.cool_down_hours * 3600
    if cause.kind not in plan.causes:
        return f"the recipe's `watch.causes` do not name {cause.kind!r}"
    if waiting := next((each for each in past if each.result is None), None):
        return f"the cause {waiting.id!r} has its run, or waits for it"
    if fault:
        return f"the source of the inputs may be broken, which a person must look at: {fault}"
    if cause.kind in ("harm", "drift") and new_records < ENOUGH:
        what = f"{new_records} records with a label have come since then, and {ENOUGH} are needed"
        return f"{what}: see `ratchet unsure {recipe}`"
    if cause.kind == "harm" and _was_not_cured(past):
        return f"{_CURES} retrainings did not cure it, so a person must look"
    if last is not None and abs(now - last) < cool:  # the clock may have been set back
        return f"the last run started {(now - last) / 3600:.1f} h ago, and the cool-down is {plan.cool_down_hours:g} h"
    return ""


def _overspent(plan: Watch, past: Sequence[Past], now: float) -> str:
    """Which budget of the week is spent; empty if none is."""
    week = [each for each in past if each.started is not None and abs(now - each.started) < WEEK]
    spent = sum((each.ended or now) - (each.started or now) for each in week)
    if len(week) >= plan.runs_a_week:
        return f"the week's budget of {plan.runs_a_week} runs is spent"
    if spent >= plan.seconds_a_week:
        return f"the week's budget of {plan.seconds_a_week:,.0f} s is spent"
    return ""


def id_of(base: str, past: Sequence[Past]) -> str:
    """The id of a cause, which is another one after each run for it that failed, up to a number."""
    failed = sum(each.id.partition(" (try ")[0] == base and each.result == "failed" for each in past)
    return f"{base} (try {failed + 1})" if 0 < failed < _TRIES else base


def _was_not_cured(past: Sequence[Past]) -> bool:
    """Whether the last runs were all for harm and were released."""
    ended = sorted((each for each in past if each.ended is not None), key=lambda each: each.ended or 0.0)
    last = ended[-_CURES:]
    return len(last) == _CURES and all(each.kind == "harm" and each.result == "released" for each in last)


def may_roll_back(plan: Watch, phase: str, frozen: bool, harm: str) -> bool:
    """Whether measured harm may bring a former champion back: where harm is a cause, and no release is under way."""
    return bool(harm) and "harm" in plan.causes and phase == "idle" and not frozen


def should_compare(labels: int, last: int) -> bool:
    """Whether a former champion is compared with so many labelled inputs, after it was with `last` of them.

    Looking seldom keeps chance from bringing one back that is no better.
    """
    return labels >= ENOUGH and labels >= 2 * last
