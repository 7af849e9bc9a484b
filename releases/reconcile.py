"""Makes the fleet what is wanted, as data: one plan for a host, one for the traffic. Pure; someone else acts.

On a fleet that is right both plan nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ratchet.words import Arm, Package, Place, Split
from releases.state import Action, Fleet, Keep, Route, Serve


@dataclass(frozen=True)
class Start:
    package: Package


@dataclass(frozen=True)
class Prove:
    """Ask the arm its golden set."""

    package: Package
    arm: Arm


@dataclass(frozen=True)
class Stop:
    arm: str


@dataclass(frozen=True)
class EndOrphan:
    arm: Arm


@dataclass(frozen=True)
class Point:
    """`current` should name the champion's package."""

    package: Package


HostOperation = Start | Prove | Stop | EndOrphan | Point


def host_plan(
    wanted: Iterable[Action], arms: Iterable[Arm], declared: Mapping[str, Iterable[Place]], champion: Package | None
) -> list[HostOperation]:
    """What is missing on one host. `arms` are one recipe's there, each with a process on every GPU; `declared` is what
    the gateway knows.
    """
    wanted, arms = tuple(wanted), tuple(arms)
    serve = {a.package.arm: a.package for a in wanted if isinstance(a, Serve)}
    keep = {a.package.arm: a.package for a in wanted if isinstance(a, Keep)} | serve
    up = {(a.arm, a.gpu) for a in arms if a.state in ("running", "starting")}
    known = {name: {(a.arm, a.gpu) for a in arms if a.arm == name} for name in serve}
    operations: list[HostOperation] = [Start(p) for name, p in serve.items() if not known[name] or known[name] - up]
    operations += [
        Prove(keep[a.arm], a) for a in arms if a.arm in keep and a.ready and not a.proven and a.state != "orphan"
    ]
    ready = {(a.arm, a.gpu) for a in arms if a.ready and a.proven and a.state != "orphan"}
    busy = {a.arm for a in arms if a.state != "orphan" and a.place in declared.get(a.arm, ())}
    for arm in arms:
        if arm.place in declared.get(arm.arm, ()):
            continue  # it may be sent a request at any moment
        if arm.state == "orphan" and (arm.arm not in keep or (arm.arm, arm.gpu) in ready):
            operations.append(EndOrphan(arm))
    gone = {a.arm for a in arms if a.state != "orphan" and a.arm not in keep and a.arm not in busy}
    operations += [Stop(name) for name in sorted(gone)]
    if champion:
        operations.append(Point(champion))
    return operations


def may_warm(host: str, order: Iterable[str], cold: frozenset[str], at_once: int) -> bool:
    """Whether it is this host's turn to warm a challenger: fewer than `at_once` of those before it are still cold."""
    order = tuple(order)
    return host in order and sum(h in cold for h in order[: order.index(host)]) < at_once


@dataclass(frozen=True)
class Declare:
    """The gateway should know these arms, and no other; who has traffic stays."""

    places: Mapping[str, tuple[Place, ...]]


@dataclass(frozen=True)
class Turn:
    """The traffic should be split so."""

    split: Split


@dataclass(frozen=True)
class Close:
    """Take the recipe off the gateway: it has no champion, and its first release failed."""


TrafficOperation = Declare | Turn | Close


def traffic_plan(wanted: Iterable[Action], fleet: Fleet) -> TrafficOperation | None:
    """The next thing that the gateway should do, one at a time: turn, know an arm, forget another."""
    wanted = tuple(wanted)
    split = next((a.split for a in wanted if isinstance(a, Route)), Split())
    if not fleet.alive:
        return None
    if not split.weights:
        return Close() if fleet.split.weights or fleet.places else None
    now = _named(fleet.split)
    if split != fleet.split and _can_turn(split, fleet):
        return Turn(split)
    serve = [a.package.arm for a in wanted if isinstance(a, Serve)]
    target = {arm: places for arm in serve if (places := _places(arm, fleet))}
    for arm, places in fleet.places.items():  # what has or may have a request stays known
        if arm in now or fleet.active.get(arm):
            target.setdefault(arm, places)
    known = {arm: _grown(arm, places, fleet) for arm, places in target.items()}
    return Declare(known) if known != dict(fleet.places) else None


def _can_turn(split: Split, fleet: Fleet) -> bool:
    """Whether each arm that gets the greater part, or is new, is healthy, and the gateway knows the others."""
    grown = {arm for arm, weight in split.weights.items() if weight > fleet.split.weights.get(arm, 0) <= 50}
    return all(fleet.healthy.get(arm) for arm in grown) and {split.mirror, split.spare} - {""} <= fleet.places.keys()


def _named(split: Split) -> set[str]:
    return {arm for arm, weight in split.weights.items() if weight} | ({split.mirror, split.spare} - {""})


def _places(arm: str, fleet: Fleet) -> tuple[Place, ...]:
    """On each GPU of each host the proven process that is supervised, else what the gateway knows and may live yet.

    Whether one that is known answers at the moment is for the gateway's health checks.
    """
    known = fleet.places.get(arm, ())
    chosen: set[Place] = set()
    living = [a for a in fleet.arms if a.arm == arm and a.state not in ("failed", "stopped")]
    for at in {(a.host, a.gpu) for a in living}:
        mine = [a for a in living if (a.host, a.gpu) == at]
        best = [a for a in mine if a.ready and a.proven and a.state != "orphan"]
        chosen |= {a.place for a in best or mine if best or a.place in known or (a.state == "orphan" and a.ready)}
    return tuple(sorted(chosen)) or known


def _grown(arm: str, places: tuple[Place, ...], fleet: Fleet) -> tuple[Place, ...]:
    """`places`, and those known before until one of the new passes the gateway's health checks."""
    before = fleet.places.get(arm, ())
    if any(place in fleet.healthy.get(arm, ()) for place in places) or not set(before) - set(places):
        return places
    return tuple(sorted({*before, *places}))
