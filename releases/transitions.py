"""The next event from the state of the fleet and the evidence: `next_event(state, fleet, ...)`. Pure."""

from collections.abc import Iterable

from ratchet.types import Check
from releases.evidence import outcome
from releases.state import Baked, Drained, Event, Failed, Fleet, Halted, Healthy, Passed, Promoted, State

_MAX_FALLBACK_SECONDS = 5.0
"""In a whole release: a process that hangs, or hangs now and then."""


def next_event(
    state: State, fleet: Fleet, checks: tuple[Check, ...] = (), candidate_is_worse: bool | None = None, now: float = 0.0
) -> Event | None:
    """The next event, or None. If both revisions are unhealthy, `candidate_is_worse` says which is the worse one."""
    for package in state.draining:
        if _is_gone(package.revision, fleet):
            return Drained(package.revision, now)
    match state.phase:
        case "warming":
            return _warming(state, fleet, now)
        case "trial":
            return _trial(state, fleet, checks, candidate_is_worse, now)
        case "shifting":
            return _shifting(state, fleet, now)
        case "baking":
            return _baking(state, fleet, checks, now)
    return None


def _warming(state: State, fleet: Fleet, now: float) -> Event | None:
    assert state.challenger
    hosts = [host for host in state.hosts if host in fleet.hosts]
    if 2 * len(hosts) < len(state.hosts):
        gone = ", ".join(sorted(set(state.hosts) - fleet.hosts))
        return Failed(state.attempt, f"most of the hosts are gone ({gone})", (), now)
    # A host that does not know of this attempt yet may be about to stop what it reported.
    known = [host for host in hosts if host in fleet.current]
    own = [e for e in fleet.endpoints if e.revision == state.challenger.revision and e.host in known]
    for endpoint in own:
        if endpoint.fault:
            return Failed(state.attempt, f"{endpoint.fault} (on host {endpoint.host})", (), now)
        if endpoint.state == "failed":
            return Failed(state.attempt, f"its process does not stay alive on host {endpoint.host}", (), now)
    cold = {e.host for e in own if not (e.ready and e.verified)}
    present = {e.host for e in own}
    missing = [host for host in hosts if host in cold or host not in present]
    if not missing:
        started = {host: max(e.since for e in own if e.host == host) for host in hosts}
        return Healthy(state.attempt, started, now)
    if now > state.deadline:
        return Failed(state.attempt, f"it was not ready in time on {', '.join(missing)}", (), now)
    return None


def _trial(
    state: State, fleet: Fleet, checks: tuple[Check, ...], candidate_is_worse: bool | None, now: float
) -> Event | None:
    assert state.champion
    assert state.challenger
    result = outcome(checks)
    if candidate_is_worse is not None:
        better = state.champion if candidate_is_worse else state.challenger
        return Halted(state.attempt, better.revision, "both revisions are unhealthy", checks, now)
    if why := _lost(state, fleet):
        return Failed(state.attempt, why, checks, now)
    if result == "failed":
        return Failed(state.attempt, _first(state, checks, result), checks, now)
    if state.paused:
        return None
    if result == "passed" and checks:
        return Passed(state.attempt, state.step, checks, now)
    if now > state.deadline:
        why = f"there was too little evidence in time ({_first(state, checks, result)})"
        return Failed(state.attempt, why, checks, now)
    return None


def _shifting(state: State, fleet: Fleet, now: float) -> Event | None:
    assert state.challenger
    if fleet.alive and dict(fleet.split.weights) == {state.challenger.revision: 100}:
        return Promoted(state.attempt, state.challenger.version, now)
    if state.kind == "release" and (why := _lost(state, fleet)):
        return Failed(state.attempt, why, (), now)
    if now <= state.deadline:
        return None
    ready = any(e.revision == state.challenger.revision and e.ready for e in fleet.endpoints)
    if state.kind == "rollback" and not state.by_hand and (ready or not fleet.alive):
        return None  # an automatic rollback has no time limit: the present champion is bad
    return Failed(state.attempt, "the gateway did not shift the traffic in time", (), now)


def _baking(state: State, fleet: Fleet, checks: tuple[Check, ...], now: float) -> Event | None:
    if why := _lost(state, fleet):
        return Failed(state.attempt, f"{why}, in the bake time", checks, now)
    if outcome(checks) == "failed":
        return Failed(state.attempt, _first(state, checks, "failed"), checks, now)
    return Baked(state.attempt, checks, now) if now > state.deadline and not state.paused else None


def on_fallback(state: State, fleet: Fleet) -> bool:
    """Whether the gateway finds no healthy endpoint of the version on trial, or baking, but some of the other.

    The other one then answers its requests, which must not count as its own success.
    """
    new, old = (state.champion, state.warm) if state.phase == "baking" else (state.challenger, state.champion)
    serves = state.phase == "baking" or (state.phase == "trial" and state.trial.weight > 0)
    if not (serves and new and old and fleet.alive):
        return False
    return bool(fleet.healthy.get(old.revision) and not fleet.healthy.get(new.revision))


def _lost(state: State, fleet: Fleet) -> str:
    """Why the version on trial, or baking, lost its processes or hosts; empty if it did not."""
    package = state.champion if state.phase == "baking" else state.challenger
    if fleet.fallback_seconds > _MAX_FALLBACK_SECONDS:
        return f"the gateway found it healthy on no host for {fleet.fallback_seconds:.0f} s"
    for host in sorted(state.started.keys() & fleet.hosts):
        # A second of tolerance, since the clock may have been adjusted.
        if package and _died(package.revision, host, state.started[host] + 1, fleet):
            return f"its process died on host {host}"
    gone = sorted(state.started.keys() - fleet.hosts)
    return f"it lost the majority of its hosts ({', '.join(gone)})" if 2 * len(gone) > len(state.started) else ""


def _died(revision: str, host: str, started: float, fleet: Fleet) -> bool:
    """Whether that revision died alone; if its host did, all that ran there started again, or will."""
    on_host = [e for e in fleet.endpoints if e.host == host]
    own = [e for e in on_host if e.revision == revision]
    if any(e.state == "failed" for e in own):
        return True
    # An orphan of a killed supervisord proves nothing: all that the new supervisord has started again.
    others_stood = any(
        e.revision != revision and e.ready and e.state != "orphan" and e.since <= started for e in on_host
    )
    living_gpus = {e.gpu for e in own if e.state != "stopped" and e.since <= started}
    return others_stood and (not own or any(e.gpu not in living_gpus for e in own))


def _first(state: State, checks: Iterable[Check], worst: str) -> str:
    check = next((f"{c.name}: {c.detail}" for c in checks if c.outcome == worst), "no figures")
    return f"{check}, {'in the bake time' if state.phase == 'baking' else f'at {state.trial}'}"


def _is_gone(revision: str, fleet: Fleet) -> bool:
    routed = revision in fleet.split.weights or revision in (fleet.split.mirror, fleet.split.fallback)
    return fleet.alive and revision not in fleet.addresses and not routed and not fleet.active.get(revision)
