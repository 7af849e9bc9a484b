"""What the fleet's present shape and the evidence bring about: `observe(state, fleet, checks, sicker, now)`. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from ratchet.recipe import Step
from ratchet.words import Check
from releases.evidence import outcome
from releases.state import Baked, Drained, Event, Failed, Fleet, Halted, Healthy, Passed, Promoted, State


def observe(
    state: State, fleet: Fleet, checks: tuple[Check, ...] = (), sicker: bool | None = None, now: float = 0.0
) -> Event | None:
    """The next event, if any. `sicker` is None, or both arms are sick: whether the challenger is the more so."""
    for package in state.draining:
        if _is_gone(package.arm, fleet):
            return Drained(package.arm, now)
    match state.phase:
        case "warming":
            return _warming(state, fleet, now)
        case "trial":
            return _trial(state, fleet, checks, sicker, now)
        case "turning":
            return _turning(state, fleet, now)
        case "baking":
            return _baking(state, fleet, checks, now)
    return None


def _warming(state: State, fleet: Fleet, now: float) -> Event | None:
    assert state.challenger
    asked = [h for h in state.hosts if h in fleet.hosts]
    if 2 * len(asked) < len(state.hosts):
        away = ", ".join(sorted(set(state.hosts) - fleet.hosts))
        return Failed(state.attempt, f"most of the hosts are gone ({away})", (), now)
    # A host that did not know of this attempt may be about to stop what it told of.
    mine = [a for a in fleet.arms if a.arm == state.challenger.arm and a.host in fleet.current and a.host in asked]
    for arm in mine:
        if arm.fault:
            return Failed(state.attempt, f"{arm.fault} (on host {arm.host})", (), now)
        if arm.state == "failed":
            return Failed(state.attempt, f"its process does not stay alive on host {arm.host}", (), now)
    cold = {a.host for a in mine if not (a.ready and a.proven)}
    missing = [h for h in asked if h in cold or h not in {a.host for a in mine}]
    if not missing:
        return Healthy(state.attempt, {h: max(a.since for a in mine if a.host == h) for h in asked}, now)
    if now > state.deadline:
        return Failed(state.attempt, f"it was not warm in time on {', '.join(missing)}", (), now)
    return None


def _trial(state: State, fleet: Fleet, checks: tuple[Check, ...], sicker: bool | None, now: float) -> Event | None:
    assert state.champion
    assert state.challenger
    found = outcome(checks)
    if sicker is not None:
        better = state.champion if sicker else state.challenger
        return Halted(state.attempt, better.arm, "both arms fail", checks, now)
    if why := _lost(state, fleet):
        return Failed(state.attempt, why, checks, now)
    if found == "fail":
        return Failed(state.attempt, _why(state, checks, found), checks, now)
    if state.paused:
        return None
    if found == "pass" and checks:
        return Passed(state.attempt, state.step, checks, now)
    if now > state.deadline:
        why = f"too little evidence in time ({_why(state, checks, found)})"
        return Failed(state.attempt, why, checks, now)
    return None


def _turning(state: State, fleet: Fleet, now: float) -> Event | None:
    assert state.challenger
    if fleet.alive and dict(fleet.split.weights) == {state.challenger.arm: 100}:
        return Promoted(state.attempt, state.challenger.version, now)
    if state.kind == "release" and (why := _lost(state, fleet)):
        return Failed(state.attempt, why, (), now)
    if now <= state.deadline:
        return None
    ready = any(a.arm == state.challenger.arm and a.ready for a in fleet.arms)
    if state.kind == "rollback" and not state.by_hand and (ready or not fleet.alive):
        return None  # away from a bad champion is the only way, however long the gateway takes
    return Failed(state.attempt, "the gateway did not turn in time", (), now)


def _baking(state: State, fleet: Fleet, checks: tuple[Check, ...], now: float) -> Event | None:
    if why := _lost(state, fleet):
        return Failed(state.attempt, f"{why}, in the bake time", checks, now)
    if outcome(checks) == "fail":
        return Failed(state.attempt, _why(state, checks, "fail"), checks, now)
    return Baked(state.attempt, checks, now) if now > state.deadline and not state.paused else None


def away(state: State, fleet: Fleet) -> bool:
    """Whether the gateway finds none of the version on trial, or baking, healthy, and some of the other.

    Its requests are then answered by the other: that must not count as its own success.
    """
    new, old = (state.champion, state.warm) if state.phase == "baking" else (state.challenger, state.champion)
    served = state.phase == "baking" or (state.phase == "trial" and state.trial.weight > 0)
    return bool(served and new and old and fleet.alive and fleet.healthy.get(old.arm)
                and not fleet.healthy.get(new.arm))  # fmt: skip


_AWAY = 5.0
"""Seconds of a release in all: a process that hangs, or hangs now and then."""


def _lost(state: State, fleet: Fleet) -> str:
    """Why the version on trial, or baking, has lost what it stood on; or nothing."""
    package = state.champion if state.phase == "baking" else state.challenger
    if fleet.away > _AWAY:
        return f"the gateway found it healthy on no host for {fleet.away:.0f} s"
    for host in sorted(state.began.keys() & fleet.hosts):
        if package and _died(package.arm, host, state.began[host] + 1, fleet):  # clocks may be set meanwhile
            return f"its process died on host {host}"
    away = sorted(state.began.keys() - fleet.hosts)
    return f"it lost the majority of its hosts ({', '.join(away)})" if 2 * len(away) > len(state.began) else ""


def _died(name: str, host: str, began: float, fleet: Fleet) -> bool:
    """Whether that arm did, and not the host: then all that ran there began anew, or has yet to."""
    here = [a for a in fleet.arms if a.host == host]
    mine = [a for a in here if a.arm == name]
    if any(a.state == "failed" for a in mine):
        return True
    # What supervisord left behind when it was killed says nothing: all that it has now began anew.
    stood = any(a.arm != name and a.ready and a.state != "orphan" and a.since <= began for a in here)
    lives = {a.gpu for a in mine if a.state != "stopped" and a.since <= began}
    return stood and (not mine or any(a.gpu not in lives for a in mine))


def _why(state: State, checks: Iterable[Check], worst: str) -> str:
    told = next((f"{c.name}: {c.detail}" for c in checks if c.outcome == worst), "no figures")
    return f"{told}, {'in the bake time' if state.phase == 'baking' else f'at {named(state.trial)}'}"


def named(step: Step) -> str:
    """A step in words."""
    return f"{step.weight} %" if step.weight else f"a shadow of {step.mirror} %" if step.mirror else "the comparison"


def _is_gone(arm: str, fleet: Fleet) -> bool:
    named = arm in fleet.split.weights or arm in (fleet.split.mirror, fleet.split.spare)
    return fleet.alive and arm not in fleet.places and not named and not fleet.active.get(arm)
