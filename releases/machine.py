"""The release machine: `step(state, event) -> (state, actions)`. Pure; the clock is in the events.

A release warms a bento, turns the gateway to it, is `promoted`, drains the old one. Whatever
happens first — it fails, it is not healthy in time, the gateway does not turn — the champion stays.
Actions say what should be so, not what to do about it: doing one twice does no more than once, and
`reconcile.plan` finds what is missing, so that any tick can be the first after a crash.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from ratchet.errors import Refusal
from ratchet.words import Arm, Package, from_json, to_json

Phase = Literal["idle", "warming", "turning", "draining"]
Kind = Literal["release", "rollback"]


@dataclass(frozen=True)
class Requested:
    """Somebody wants `package` to be champion."""

    package: Package
    kind: Kind
    why: str
    by_hand: bool
    warm_seconds: float
    turn_seconds: float
    at: float = 0.0


@dataclass(frozen=True)
class Healthy:
    """A host serves the package and it answered its golden set there."""

    version: str
    told: Mapping[str, Any]
    at: float = 0.0


@dataclass(frozen=True)
class Failed:
    """The package will not serve; or not in time."""

    version: str
    why: str
    at: float = 0.0


@dataclass(frozen=True)
class Promoted:
    """The gateway sends all traffic to the version: the moment a release has happened."""

    version: str
    at: float = 0.0


@dataclass(frozen=True)
class Drained:
    """The old version finished what it had and is gone."""

    version: str
    at: float = 0.0


@dataclass(frozen=True)
class Recorded:
    """MLflow took the aliases and the outcomes."""

    champion: str | None
    previous: str | None
    outcomes: int
    at: float = 0.0


Event = Requested | Healthy | Failed | Promoted | Drained | Recorded
_KINDS: dict[str, type[Event]] = {
    k.__name__.lower(): k for k in (Requested, Healthy, Failed, Promoted, Drained, Recorded)
}


@dataclass(frozen=True)
class Outcome:
    """What became of a version, still to be written to MLflow."""

    version: str
    outcome: str
    why: str


@dataclass(frozen=True)
class State:
    phase: Phase = "idle"
    kind: Kind = "release"
    champion: Package | None = None
    challenger: Package | None = None
    outgoing: Package | None = None
    former: tuple[Package, ...] = ()
    """Every champion before this one, oldest first."""
    rolled_back: frozenset[str] = frozenset()
    deadline: float = 0.0
    turn_seconds: float = 0.0
    why: str = ""
    outcomes: tuple[Outcome, ...] = ()
    aliases: tuple[str | None, str | None] = (None, None)
    """Champion and previous as MLflow last took them."""


@dataclass(frozen=True)
class Serve:
    """The package should be running."""

    package: Package


@dataclass(frozen=True)
class Keep:
    """The package may be running: a flow is placing it."""

    package: Package


@dataclass(frozen=True)
class Prove:
    """The package should answer its golden set, and that be told."""

    package: Package


@dataclass(frozen=True)
class Route:
    """All traffic should go to the version; None is no traffic, before anything was released."""

    version: str | None


@dataclass(frozen=True)
class Record:
    """MLflow should say so."""

    champion: str | None
    previous: str | None
    outcomes: tuple[Outcome, ...]


Action = Serve | Keep | Prove | Route | Record


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
    actions: list[Action] = []
    if state.champion:
        actions.append(Serve(state.champion))
    if state.challenger and state.phase == "warming":
        # A release is placed by its flow; a rollback must work with no flow alive.
        actions += (
            [Keep(state.challenger)] if state.kind == "release" else [Serve(state.challenger), Prove(state.challenger)]
        )
    if state.challenger and state.phase == "turning":
        actions += [Serve(state.challenger), Route(state.challenger.version)]
    else:
        actions.append(Route(state.champion.version if state.champion else None))
    aliases = _aliases(state)
    if state.outcomes or aliases != state.aliases:
        actions.append(Record(*aliases, state.outcomes))
    return tuple(actions)


def refusal(state: State, event: Requested) -> Refusal | None:
    """Why this request cannot be taken now, or None."""
    name, version = event.package.recipe, event.package.version
    # A rollback does not wait for a release to warm up or an old bento to drain.
    at_once = event.kind == "rollback" and (
        state.phase == "draining" or (state.phase, state.kind) == ("warming", "release")
    )
    if state.phase != "idle" and not at_once:
        busy = state.challenger or state.outgoing
        return Refusal(
            f"a {state.kind} of version {busy.version if busy else '?'} is under way ({state.phase})",
            name,
            "Wait for it: `ratchet status`",
        )
    if state.champion and state.champion.digest == event.package.digest:
        return Refusal(f"version {version} serves already", name, "Nothing need be done")
    if version in state.rolled_back and not event.by_hand:
        return Refusal(f"version {version} was rolled back", name, "It is released again only by hand")
    return None


def rollback_target(state: State) -> Package | None:
    """The newest former champion that was never rolled back from."""
    for package in reversed(state.former):
        if package.version not in state.rolled_back and state.champion and package.version != state.champion.version:
            return package
    return None


def observe(state: State, arms: Iterable[Arm], routed: Mapping[str, int], now: float) -> Event | None:
    """The event that the fleet's present shape brings about, if any.

    `routed` maps version to weight as the gateway has it in force.
    """
    challenger, outgoing = state.challenger, state.outgoing
    if challenger and state.phase in ("warming", "turning"):
        mine = [a for a in arms if a.version == challenger.version]
        if state.phase == "turning" and dict(routed) == {challenger.version: 100} and any(a.ready for a in mine):
            return Promoted(challenger.version, now)
        crashed = bool(mine) and all(a.state == "failed" for a in mine)
        if crashed and (state.phase == "turning" or state.kind == "rollback"):
            return Failed(challenger.version, "its process does not stay alive", now)
        if now > state.deadline:
            return Failed(challenger.version, f"it was not done {state.phase} in time", now)
    if state.phase == "draining" and outgoing and not any(a.version == outgoing.version for a in arms):
        return Drained(outgoing.version, now)
    return None


def to_body(event: Event) -> tuple[str, dict[str, Any]]:
    """The ledger's kind and body of an event; `at` is a column of its own."""
    body = to_json(event)
    del body["at"]
    return type(event).__name__.lower(), body


def from_body(kind: str, body: Mapping[str, Any], at: float) -> Event | None:
    """The event back; None for a kind that does not concern the machine."""
    return from_json(_KINDS[kind], {**body, "at": at}) if kind in _KINDS else None


def _aliases(state: State) -> tuple[str | None, str | None]:
    previous = rollback_target(state)
    return (state.champion.version if state.champion else None, previous.version if previous else None)


def _after(state: State, event: Event) -> State:
    on_trial = state.challenger.version if state.challenger else None
    match event:
        case Requested():
            if refusal(state, event):
                return state
            dropped = [Outcome(on_trial, "failed", "a rollback came first")] if on_trial else []
            return replace(
                state, phase="warming", kind=event.kind, challenger=event.package, why=event.why,
                deadline=event.at + event.warm_seconds, turn_seconds=event.turn_seconds, outgoing=None,
                outcomes=(*state.outcomes, *dropped),
            )  # fmt: skip
        case Healthy() if state.phase == "warming" and event.version == on_trial:
            return replace(state, phase="turning", deadline=event.at + state.turn_seconds)
        case Failed() if state.phase in ("warming", "turning") and event.version == on_trial:
            outcome = Outcome(event.version, "failed", event.why)
            return replace(state, phase="idle", challenger=None, why=event.why, outcomes=(*state.outcomes, outcome))
        case Promoted() if state.phase == "turning" and event.version == on_trial:
            return _promoted(state)
        case Drained() if state.phase == "draining" and state.outgoing and event.version == state.outgoing.version:
            return replace(state, phase="idle", outgoing=None)
        case Recorded():
            return replace(state, aliases=(event.champion, event.previous), outcomes=state.outcomes[event.outcomes :])
    return state


def _promoted(state: State) -> State:
    new, old = state.challenger, state.champion
    assert new
    outcomes = [*state.outcomes, Outcome(new.version, "promoted", state.why)]
    rolled_back = state.rolled_back - {new.version}
    if old and state.kind == "rollback":
        rolled_back |= {old.version}
        outcomes.append(Outcome(old.version, "rolled back", state.why))
    return replace(
        state, phase="draining" if old else "idle", champion=new, challenger=None, outgoing=old,
        former=(*state.former, old) if old else state.former, rolled_back=rolled_back, outcomes=tuple(outcomes),
    )  # fmt: skip
