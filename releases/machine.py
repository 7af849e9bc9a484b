"""The release machine: `step(state, event) -> (state, actions)`. Pure; the clock is in the events.

A release warms the challenger on every host, tries it step by step, turns the gateway to it, is
`promoted`, keeps the old champion warm for a bake time, and drains it. Whatever fails first, the
champion keeps or gets back all traffic. Actions say what should be so, not what to do about it: doing
one twice does no more than once, and `reconcile` finds what is missing, so that any tick can be the
first after a crash.

    idle ─requested▶ warming ─healthy▶ trial ─passed, step by step▶ turning ─promoted▶ baking ─baked▶ idle
      ◀──────failed──────┴───────────────┴─────────────────────────────┘   failed: turning back ─▶ idle
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ratchet.errors import Refusal
from ratchet.words import Package, Split
from releases.state import (
    Action,
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
    Record,
    Recorded,
    Requested,
    Route,
    Serve,
    State,
    Steered,
)


def step(state: State, event: Event) -> tuple[State, tuple[Action, ...]]:
    """The state after an event, and what should be so in it. An event out of place changes nothing."""
    after = _after(state, event)
    return after, wants(after)


def fold(events: Iterable[Event]) -> State:
    state = State()
    for event in events:
        state = _after(state, event)
    return state


def wants(state: State) -> tuple[Action, ...]:
    """What should be so in this state."""
    # A flow places what it releases, host by host; what a person asks for must work with no flow alive.
    by_flow = (state.phase, state.kind, state.by_hand) == ("warming", "release", False)
    placed = None if by_flow else state.challenger
    serve = {p.arm: p for p in (state.champion, placed, state.warm) if p}
    keep = {p.arm: p for p in (state.challenger, *state.draining) if p and p.arm not in serve}
    actions: list[Action] = [*map(Serve, serve.values()), *map(Keep, keep.values()), Route(split(state))]
    aliases = _aliases(state)
    if state.outcomes or aliases != state.aliases:
        actions.append(Record(*aliases, state.outcomes))
    return tuple(actions)


def split(state: State) -> Split:
    """Who should have which share of the traffic."""
    old, new, warm = (p.arm if p else "" for p in (state.champion, state.challenger, state.warm))
    if state.phase == "turning":
        return Split({new: 100}, spare=old if state.kind == "release" else "")
    if state.phase == "halted":
        return Split({state.keep: 100})
    if state.phase == "trial":
        weights = {old: 100 - state.trial.weight, new: state.trial.weight}
        mirror = (new, state.trial.mirror) if state.trial.mirror else ("", 0)
        return Split({arm: weight for arm, weight in weights.items() if weight}, *mirror)
    if state.phase == "baking" and not state.plan.bake_mirror:
        return Split({old: 100}, spare=warm)
    if state.phase == "baking":
        return Split({old: 100}, warm, state.plan.bake_mirror, spare=warm)
    return Split({old: 100} if old else {})


def refusal(state: State, event: Requested | Steered) -> Refusal | None:
    """Why this request cannot be taken now, or None."""
    return _steering(state, event) if isinstance(event, Steered) else _releasing(state, event)


def _releasing(state: State, event: Requested) -> Refusal | None:
    name, package = event.package.recipe, event.package
    if state.frozen and event.kind == "release":
        return Refusal(f"releases are frozen ({state.frozen})", name, f"Thaw it: `ratchet thaw {name}`")
    at_once = event.kind == "rollback" and state.phase == "baking"
    if state.champion and state.champion.key == package.key:
        return Refusal(f"version {package.version} serves already, in this very package", name, "Nothing need be done")
    if state.phase != "idle" and not at_once:
        return Refusal(_busy(state), name, _instead(state, name))
    if package.arm in state.rolled_back and not event.by_hand:
        return Refusal(f"version {package.version} was rolled back", name, "It is released again only by hand")
    if not event.hosts:
        return Refusal("no host is heard of", name, "Run `ratchet up`, or see `ratchet status`")
    return None


def _busy(state: State) -> str:
    if state.phase == "baking" and state.champion:
        return f"version {state.champion.version} still bakes, with the old one warm"
    version = state.challenger.version if state.challenger else "?"
    return f"a {state.kind} of version {version} is under way ({state.phase})"


def _instead(state: State, name: str) -> str:
    if state.phase == "baking":
        return f"Wait, or end its bake time: `ratchet release promote {name}`"
    if state.kind == "rollback":
        return "Wait for it: `ratchet status`"
    return f"Wait (`ratchet status`), or end it: `ratchet release abort {name}`"


_STEERABLE = {"pause": ("warming", "trial", "baking"), "resume": ("warming", "trial", "baking"),
              "promote": ("trial", "baking", "halted")}  # fmt: skip


def _steering(state: State, event: Steered) -> Refusal | None:
    look = "See `ratchet status`"
    if state.phase not in _STEERABLE.get(event.order, (state.phase,)):
        what = "no release is under way" if state.phase == "idle" else f"the release is {state.phase}"
        return Refusal(f"{what}, so there is nothing to {event.order}", "the recipe", look)
    if event.order == "resume" and not state.paused:
        return Refusal("it is not paused", "the release", look)
    if event.order == "freeze" and state.frozen:
        return Refusal(f"it is frozen already ({state.frozen})", "the recipe", "Thaw it first for another reason")
    if event.order == "thaw" and not state.frozen:
        return Refusal("it is not frozen", "the recipe", look)
    return None


def rollback_target(state: State) -> Package | None:
    """The newest former champion that was never rolled back from."""
    for package in reversed(state.former):
        if package.arm not in state.rolled_back and state.champion and package.arm != state.champion.arm:
            return package
    return None


def _aliases(state: State) -> tuple[str | None, str | None]:
    previous = rollback_target(state)
    return (state.champion.version if state.champion else None, previous.version if previous else None)


def _after(state: State, event: Event) -> State:
    if isinstance(event, Healthy | Passed | Failed | Halted | Promoted | Baked) and event.attempt != state.attempt:
        return state  # late, of an attempt that is over
    match event:
        case Requested() | Steered() if refusal(state, event):
            return state
        case Requested():
            return _requested(state, event)
        case Steered():
            return _steered(state, event)
        case Healthy() if state.phase == "warming":
            return _tried(replace(state, began=event.hosts), 0, event.at)
        case Passed() if state.phase == "trial" and event.step == state.step and not state.paused:
            return _tried(state, state.step + 1, event.at)
        case Failed():
            return _failed(state, event)
        case Halted() if state.phase == "trial":
            return replace(state, phase="halted", keep=event.arm, why=event.why, paused=False)
        case Promoted() if state.phase == "turning":
            return _promoted(state, event.at)
        case Baked() if state.phase == "baking" and state.champion:
            # Told once more, so that the record in MLflow has the bake time, too.
            again = Outcome(state.champion.version, "promoted", state.why)
            return replace(_left(state, state.warm), outcomes=(*state.outcomes, again))
        case Drained():
            return replace(state, draining=tuple(p for p in state.draining if p.arm != event.arm))
        case Recorded():
            return replace(state, aliases=(event.champion, event.previous), outcomes=state.outcomes[event.outcomes :])
    return state


def _requested(state: State, event: Requested) -> State:
    # With no champion there is nothing to compare with; a rollback is to one that was.
    bare = state.champion is None or event.kind == "rollback"
    plan = replace(event.plan, steps=(), bake_seconds=0.0) if bare else event.plan
    batches = -(-len(event.hosts) // plan.max_surge) if event.kind == "release" else 1
    left = _left(_left(state, state.warm), state.challenger)
    was_warm = state.phase == "baking" and state.warm and state.warm.arm == event.package.arm
    return replace(
        left, phase="turning" if was_warm else "warming", kind=event.kind, by_hand=event.by_hand,
        attempt=state.attempt + 1, challenger=event.package, plan=plan, hosts=event.hosts, step=0, why=event.why,
        draining=tuple(p for p in left.draining if p.arm != event.package.arm), began={},
        turn_seconds=event.turn_seconds,
        deadline=event.at + (event.turn_seconds if was_warm else event.warm_seconds * batches),
    )  # fmt: skip


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
            return _left(state, state.warm)
    return replace(state, phase="turning", paused=False, deadline=event.at + state.turn_seconds)


def _tried(state: State, number: int, at: float) -> State:
    """At this step of the trial, or past the last."""
    if number < len(state.plan.steps):
        return replace(state, phase="trial", step=number, deadline=at + state.plan.step_seconds)
    return replace(state, phase="turning", deadline=at + state.turn_seconds)


def _failed(state: State, event: Failed) -> State:
    if state.phase == "baking":
        # The old champion, still warm, gets everything.
        return replace(
            state, phase="turning", kind="rollback", by_hand=False, attempt=state.attempt + 1, challenger=state.warm,
            warm=None, why=event.why, paused=False, deadline=event.at + state.turn_seconds,
        )  # fmt: skip
    if state.challenger is None:
        return state
    if state.champion and (state.phase, state.kind, state.by_hand) == ("turning", "rollback", False):
        # Back was the way out of a bad champion, and it is closed: the one that answers keeps the traffic.
        return replace(state, phase="halted", keep=state.champion.arm, why=f"both arms are sick: {event.why}")
    # What had its chance is not tried again by the next run; a host that could not start it says little of it.
    tried = state.phase in ("trial", "halted")
    outcome = Outcome(state.challenger.version, "rolled back" if tried else "failed", event.why)
    # Of a mended package of the version that serves on, nothing is told: it is the version that has a tag.
    serves = state.champion is not None and state.champion.version == outcome.version
    return replace(
        _left(state, state.challenger), why=event.why, outcomes=(*state.outcomes, *(() if serves else (outcome,))),
        rolled_back=state.rolled_back | ({state.challenger.arm} if tried else set()),
    )  # fmt: skip


def _left(state: State, package: Package | None) -> State:
    """Idle, with the package on its way out."""
    idle = replace(state, phase="idle", challenger=None, warm=None, paused=False, keep="")
    busy = {state.champion.arm if state.champion else "", *(p.arm for p in state.draining)}
    return replace(idle, draining=(*state.draining, package)) if package and package.arm not in busy else idle


def _promoted(state: State, at: float) -> State:
    new, old = state.challenger, state.champion
    assert new
    outcomes = [*state.outcomes, Outcome(new.version, "promoted", state.why)]
    rolled_back = state.rolled_back - {new.arm}
    if old and state.kind == "rollback":
        rolled_back |= {old.arm}
        if old.version != new.version:
            outcomes.append(Outcome(old.version, "rolled back", state.why))
    after = replace(
        state, champion=new, rolled_back=rolled_back, outcomes=tuple(outcomes),
        former=(*state.former, old) if old else state.former,
    )  # fmt: skip
    if old and state.plan.bake_seconds and state.kind == "release":
        return replace(after, phase="baking", challenger=None, warm=old, deadline=at + state.plan.bake_seconds)
    return _left(after, old)
