"""The release machine: `step(state, event) -> (state, actions)`. Pure; the clock is in the events.

A release warms the challenger on every host, tries it step by step, shifts the traffic to it, is `promoted`, keeps
the old champion warm for the bake time, and drains it. Whatever fails first, the champion keeps all traffic or gets
it back. Actions declare what should hold, not what to do: performing one twice has no further effect, and
`reconcile` computes what is missing, so any tick can be the first after a crash.

    idle ─requested▶ warming ─healthy▶ trial ─passed, step by step▶ shifting ─promoted▶ baking ─baked▶ idle
      ◀──────failed──────┴───────────────┴─────────────────────────────┘   failed: shifting back ─▶ idle
"""

from dataclasses import replace

from ratchet.errors import Refusal
from ratchet.types import Package, Split
from releases.state import (
    Action,
    Aliases,
    Baked,
    Drained,
    Event,
    Failed,
    Halted,
    Healthy,
    Keep,
    Outcome,
    Passed,
    Promoted,
    Requested,
    Route,
    Routed,
    Serve,
    State,
    Steered,
    Sync,
    Synced,
)


def step(state: State, event: Event) -> tuple[State, tuple[Action, ...]]:
    """The state after an event, and the actions that hold in it. An event out of place changes nothing."""
    after = _after(state, event)
    return after, actions(after)


def actions(state: State) -> tuple[Action, ...]:
    """What should hold in this state."""
    serve = {p.revision: p for p in (state.champion, state.challenger, state.warm) if p}
    keep = {p.revision: p for p in state.draining if p.revision not in serve}
    result: list[Action] = [*map(Serve, serve.values()), *map(Keep, keep.values()), Route(split(state))]
    wanted = aliases(state)
    if state.outcomes or wanted != state.aliases:
        result.append(Sync(wanted, state.outcomes))
    return tuple(result)


def split(state: State) -> Split:
    """The split of the traffic that should hold."""
    old, new, warm = (p.revision if p else "" for p in (state.champion, state.challenger, state.warm))
    if state.phase == "shifting":
        return Split({new: 100}, fallback=old if state.kind == "release" else "")
    if state.phase == "halted":
        return Split({state.keep: 100})
    if state.phase == "trial":
        weights = {old: 100 - state.trial.weight, new: state.trial.weight}
        mirror = (new, state.trial.mirror) if state.trial.mirror else ("", 0)
        return Split({revision: weight for revision, weight in weights.items() if weight}, *mirror)
    if state.phase == "baking":
        mirror = (warm, state.plan.bake_mirror) if state.plan.bake_mirror else ("", 0)
        return Split({old: 100}, *mirror, fallback=warm)
    return Split({old: 100} if old else {})


def refusal(state: State, event: Requested | Steered) -> Refusal | None:
    """Why this request cannot be accepted now, or None."""
    return _refuse_steering(state, event) if isinstance(event, Steered) else _refuse_request(state, event)


def _refuse_request(state: State, event: Requested) -> Refusal | None:
    recipe, package = event.package.recipe, event.package
    if state.frozen and event.kind == "release":
        return Refusal(f"releases are frozen ({state.frozen})", recipe, f"Thaw them: `ratchet thaw {recipe}`")
    interrupts = event.kind == "rollback" and state.phase == "baking"
    if state.champion and state.champion.key == package.key:
        what = f"version {package.version} already serves in this package"
        return Refusal(what, recipe, "Nothing needs to be done")
    if state.phase != "idle" and not interrupts:
        return Refusal(_busy(state), recipe, _alternative(state, recipe))
    if package.revision in state.rolled_back and not event.by_hand:
        what = f"version {package.version} was rolled back"
        return Refusal(what, recipe, f"Release it by hand: `ratchet release {recipe} {package.version}`")
    if not event.hosts:
        return Refusal("no host is alive", recipe, "Run `ratchet up`, or see `ratchet status`")
    return None


def _busy(state: State) -> str:
    if state.phase == "baking" and state.champion:
        return f"version {state.champion.version} is in its bake time"
    version = state.challenger.version if state.challenger else "?"
    return f"a {state.kind} of version {version} is in progress ({state.phase})"


def _alternative(state: State, recipe: str) -> str:
    if state.phase == "baking":
        return f"Wait, or end its bake time: `ratchet release promote {recipe}`"
    if state.kind == "rollback":
        return "Wait for it: `ratchet status`"
    return f"Wait (`ratchet status`), or abort it: `ratchet release abort {recipe}`"


_STEERABLE = {
    "pause": ("warming", "trial", "baking"),
    "resume": ("warming", "trial", "baking"),
    "promote": ("trial", "baking", "halted"),
}


def _refuse_steering(state: State, event: Steered) -> Refusal | None:
    look = "See `ratchet status`"
    if state.phase not in _STEERABLE.get(event.order, (state.phase,)):
        what = "no release is in progress" if state.phase == "idle" else f"the release is {state.phase}"
        return Refusal(f"{what}, so there is nothing to {event.order}", "the recipe", look)
    if event.order == "resume" and not state.paused:
        return Refusal("the release is not paused", "the recipe", look)
    if event.order == "freeze" and state.frozen:
        return Refusal(f"releases are already frozen ({state.frozen})", "the recipe", "Thaw them first")
    if event.order == "thaw" and not state.frozen:
        return Refusal("releases are not frozen", "the recipe", look)
    return None


def rollback_target(state: State) -> Package | None:
    """The newest former champion that was never rolled back."""
    for package in reversed(state.former):
        is_champion = state.champion and package.revision == state.champion.revision
        if package.revision not in state.rolled_back and state.champion and not is_champion:
            return package
    return None


def aliases(state: State) -> Aliases:
    """The aliases that MLflow should have: `@challenger` only for a version on its way to become champion."""
    champion, previous = state.champion, rollback_target(state)
    challenger = state.challenger if state.kind == "release" else None
    if challenger and champion and challenger.version == champion.version:
        challenger = None
    versions = [package.version if package else None for package in (champion, challenger, previous)]
    return versions[0], versions[1], versions[2]


def _after(state: State, event: Event) -> State:
    if isinstance(event, Healthy | Passed | Failed | Halted | Promoted | Baked) and event.attempt != state.attempt:
        return state  # late: its attempt is over
    match event:
        case Requested() | Steered() if refusal(state, event):
            return state
        case Requested():
            return _requested(state, event)
        case Steered():
            return _steered(state, event)
        case Healthy() if state.phase == "warming":
            return _to_step(replace(state, started=event.hosts), 0, event.at)
        case Passed() if state.phase == "trial" and event.step == state.step and not state.paused:
            return _to_step(state, state.step + 1, event.at)
        case Failed() if event.withdrawn and state.phase in ("idle", "baking"):
            return state  # too late: it is champion, or over
        case Failed():
            return _failed(state, event)
        case Halted() if state.phase == "trial":
            return replace(state, phase="halted", keep=event.revision, why=event.why, paused=False)
        case Promoted() if state.phase == "shifting":
            return _promoted(state, event.at)
        case Baked() if state.phase == "baking" and state.champion:
            # The same outcome again, so that the history in MLflow includes the bake time.
            outcome = Outcome(state.champion.version, "promoted", state.why)
            return replace(_to_idle(state, state.warm), outcomes=(*state.outcomes, outcome))
        case Drained():
            return replace(state, draining=tuple(p for p in state.draining if p.revision != event.revision))
        case Synced():
            return replace(state, aliases=event.aliases, outcomes=state.outcomes[event.outcomes :])
        case Routed():
            return replace(state, routed=event.split)
    return state


def _requested(state: State, event: Requested) -> State:
    # Without a champion there is nothing to compare with, and a rollback is to a former champion.
    immediate = state.champion is None or event.kind == "rollback"
    plan = replace(event.plan, steps=(), bake_seconds=0.0) if immediate else event.plan
    batches = -(-len(event.hosts) // plan.max_surge) if event.kind == "release" else 1
    idle = _to_idle(_to_idle(state, state.warm), state.challenger)
    revision = event.package.revision
    is_warm = bool(state.phase == "baking" and state.warm and state.warm.revision == revision)
    seconds = event.shift_seconds if is_warm else event.warm_seconds * batches
    return replace(
        idle,
        phase="shifting" if is_warm else "warming",
        kind=event.kind,
        by_hand=event.by_hand,
        attempt=state.attempt + 1,
        challenger=event.package,
        plan=plan,
        hosts=event.hosts,
        step=0,
        why=event.why,
        draining=tuple(p for p in idle.draining if p.revision != revision),
        started={},
        shift_seconds=event.shift_seconds,
        deadline=event.at + seconds,
    )


def _steered(state: State, event: Steered) -> State:
    match event.order:
        case "freeze":
            return replace(state, frozen=event.why)
        case "thaw":
            return replace(state, frozen="")
        case "pause":
            return replace(state, paused=True)
        case "resume":
            return replace(state, paused=False, deadline=max(state.deadline, event.at + state.plan.step_seconds))
        case "promote" if state.phase == "baking":
            return _to_idle(state, state.warm)
    return replace(state, phase="shifting", paused=False, deadline=event.at + state.shift_seconds)


def _to_step(state: State, number: int, at: float) -> State:
    """At this step of the trial, or past the last one."""
    if number < len(state.plan.steps):
        return replace(state, phase="trial", step=number, deadline=at + state.plan.step_seconds)
    return replace(state, phase="shifting", deadline=at + state.shift_seconds)


def _failed(state: State, event: Failed) -> State:
    if state.phase == "baking":
        # The old champion is still warm and gets all traffic.
        back = replace(state, phase="shifting", kind="rollback", by_hand=False, challenger=state.warm, warm=None)
        attempt, deadline = state.attempt + 1, event.at + state.shift_seconds
        return replace(back, attempt=attempt, why=event.why, paused=False, deadline=deadline)
    if state.challenger is None:
        return state
    if state.champion and (state.phase, state.kind, state.by_hand) == ("shifting", "rollback", False):
        # The way back from a bad champion is closed: the one that answers keeps the traffic.
        why = f"both revisions are unhealthy: {event.why}"
        return replace(state, phase="halted", keep=state.champion.revision, why=why)
    # A version that had its trial is not tried again by the next run; a host that cannot start it says little of it.
    tried = state.phase in ("trial", "halted") and not event.withdrawn
    outcome = Outcome(state.challenger.version, "rolled back" if tried else "failed", event.why)
    # The outcome is a tag of the version. A new package of the champion's version has none: the version still serves.
    serves = state.champion is not None and state.champion.version == outcome.version
    return replace(
        _to_idle(state, state.challenger),
        why=event.why,
        outcomes=state.outcomes if serves else (*state.outcomes, outcome),
        rolled_back=state.rolled_back | ({state.challenger.revision} if tried else set()),
    )


def _to_idle(state: State, package: Package | None) -> State:
    """Idle, with the package draining."""
    idle = replace(state, phase="idle", challenger=None, warm=None, paused=False, keep="")
    busy = {state.champion.revision if state.champion else "", *(p.revision for p in state.draining)}
    if package is None or package.revision in busy:
        return idle
    return replace(idle, draining=(*state.draining, package))


def _promoted(state: State, at: float) -> State:
    new, old = state.challenger, state.champion
    assert new
    outcomes = [*state.outcomes, Outcome(new.version, "promoted", state.why)]
    rolled_back = state.rolled_back - {new.revision}
    if old and state.kind == "rollback":
        rolled_back |= {old.revision}
        if old.version != new.version:
            outcomes.append(Outcome(old.version, "rolled back", state.why))
    former = (*state.former, old) if old else state.former
    after = replace(state, champion=new, rolled_back=rolled_back, outcomes=tuple(outcomes), former=former)
    if old and state.plan.bake_seconds and state.kind == "release":
        return replace(after, phase="baking", challenger=None, warm=old, deadline=at + state.plan.bake_seconds)
    return _to_idle(after, old)
