"""Makes the fleet what is wanted: `plan(wanted, actual, now) -> operations`. Pure; someone else acts.

On a fleet that is right it plans nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ratchet.words import Arm, Package
from releases.machine import Action, Keep, Outcome, Prove, Record, Route, Serve

Place = tuple[str, int]


@dataclass(frozen=True)
class Actual:
    """One recipe's part of the fleet, as it is now."""

    arms: tuple[Arm, ...] = ()
    alive: bool = True
    """Whether the gateway answers."""
    routed: Mapping[str, int] = field(default_factory=dict)
    """Version to weight, as the gateway has it in force."""
    places: Mapping[str, tuple[Place, ...]] = field(default_factory=dict)
    """Version to endpoints, as declared to the gateway."""
    active: Mapping[str, int] = field(default_factory=dict)
    """Version to requests under way."""


@dataclass(frozen=True)
class Start:
    package: Package


@dataclass(frozen=True)
class Verify:
    package: Package
    port: int


@dataclass(frozen=True)
class Turn:
    """Send all of the recipe's traffic to `version`; `places` are all arms that the gateway should know."""

    version: str
    places: Mapping[str, tuple[Place, ...]]


@dataclass(frozen=True)
class Close:
    """Take the recipe off the gateway: its first release failed after the gateway had turned."""


@dataclass(frozen=True)
class Stop:
    version: str


@dataclass(frozen=True)
class EndOrphan:
    arm: Arm


@dataclass(frozen=True)
class Point:
    """`current` should name the champion's package."""

    package: Package


@dataclass(frozen=True)
class Write:
    champion: str | None
    previous: str | None
    outcomes: tuple[Outcome, ...]


Operation = Start | Verify | Turn | Close | Stop | EndOrphan | Point | Write


def plan(wanted: Iterable[Action], actual: Actual, now: float) -> tuple[Operation, ...]:
    """What is missing, in the order to do it: start, prove, turn, only then stop."""
    wanted = tuple(wanted)
    serve = {a.package.version: a.package for a in wanted if isinstance(a, Serve)}
    keep = {a.package.version for a in wanted if isinstance(a, Keep)} | serve.keys()
    route = next((a.version for a in wanted if isinstance(a, Route)), None)
    operations: list[Operation] = [Start(p) for p in serve.values() if not _runs(p, actual.arms)]
    for action in wanted:
        if isinstance(action, Prove):
            ready = [a for a in actual.arms if a.ready and a.version == action.package.version]
            operations += [Verify(action.package, a.port) for a in ready[:1]]
    if route is not None and (turn := _turn(route, actual)):
        operations.append(turn)
    elif route is None and actual.alive and (actual.routed or actual.places):
        operations.append(Close())
    operations += _stops(keep, actual)
    if route in serve:
        operations.append(Point(serve[route]))
    operations += [Write(a.champion, a.previous, a.outcomes) for a in wanted if isinstance(a, Record)]
    return tuple(operations)


def _runs(package: Package, arms: Iterable[Arm]) -> bool:
    return any(
        a.digest == package.digest and a.version == package.version and a.state in ("running", "starting") for a in arms
    )


def _turn(route: str, actual: Actual) -> Turn | None:
    """The gateway should know each living arm that is wanted or still has requests, and route to one."""
    if not actual.alive:
        return None
    places = {}
    for version in sorted({route, *actual.routed, *actual.places}):
        needed = version == route or version in actual.routed or actual.active.get(version) or _has_arm(version, actual)
        if needed and (living := _places(version, actual)):
            places[version] = living
    if route not in places:
        return None
    if dict(actual.routed) == {route: 100} and dict(actual.places) == places:
        return None
    return Turn(route, places)


def _places(version: str, actual: Actual) -> tuple[Place, ...]:
    """Supervised and ready, else orphaned and ready, else what the gateway knows already."""
    ready = [a for a in actual.arms if a.version == version and a.ready]
    best = [a for a in ready if a.state != "orphan"] or ready
    return tuple(sorted((a.address, a.port) for a in best)) or tuple(actual.places.get(version, ()))


def _has_arm(version: str, actual: Actual) -> bool:
    return any(a.version == version for a in actual.arms)


def _stops(keep: Iterable[str], actual: Actual) -> list[Operation]:
    """What is not wanted and has no traffic. With the gateway silent nobody knows, so nothing is stopped."""
    operations: list[Operation] = []
    if not actual.alive:
        return operations
    ready = {a.version for a in actual.arms if a.ready and a.state != "orphan"}
    for arm in actual.arms:
        if arm.state == "orphan":
            known = (arm.address, arm.port) in actual.places.get(arm.version, ())
            replaced = arm.version in ready if arm.version in keep else _idle(arm.version, actual)
            if replaced and not (known and arm.version in keep):
                operations.append(EndOrphan(arm))
        elif arm.version not in keep and _idle(arm.version, actual):
            operations.append(Stop(arm.version))
    return operations


def _idle(version: str, actual: Actual) -> bool:
    return not actual.routed.get(version) and not actual.active.get(version)
