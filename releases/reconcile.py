"""Computes what is missing, as data: one plan for a host, one for the traffic. Pure; someone else acts.

For a fleet that is as it should be, both plans are empty.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ratchet.types import Endpoint, HostPort, Package, Split
from releases.state import Action, Fleet, Keep, Route, Serve


@dataclass(frozen=True)
class Start:
    package: Package


@dataclass(frozen=True)
class Verify:
    """Send the endpoint its golden set."""

    package: Package
    endpoint: Endpoint


@dataclass(frozen=True)
class Stop:
    revision: str


@dataclass(frozen=True)
class EndOrphan:
    endpoint: Endpoint


@dataclass(frozen=True)
class Point:
    """`current` should name the champion's package."""

    package: Package


HostOperation = Start | Verify | Stop | EndOrphan | Point


def host_plan(
    actions: Iterable[Action],
    endpoints: Iterable[Endpoint],
    declared: Mapping[str, Iterable[HostPort]],
    champion: Package | None,
) -> list[HostOperation]:
    """What is missing on one host.

    `endpoints` are one recipe's endpoints there, one for each GPU; `declared` are the addresses that the gateway knows.
    """
    actions, endpoints = tuple(actions), tuple(endpoints)
    serve = {action.package.revision: action.package for action in actions if isinstance(action, Serve)}
    keep = {action.package.revision: action.package for action in actions if isinstance(action, Keep)} | serve
    supervised = [endpoint for endpoint in endpoints if endpoint.state != "orphan"]
    up = {_key(endpoint) for endpoint in endpoints if endpoint.state in ("running", "starting")}
    operations: list[HostOperation] = []
    for revision, package in serve.items():
        known = {_key(endpoint) for endpoint in endpoints if endpoint.revision == revision}
        if not known or known - up:
            operations.append(Start(package))
    for endpoint in supervised:
        if endpoint.revision in keep and endpoint.ready and not endpoint.verified:
            operations.append(Verify(keep[endpoint.revision], endpoint))
    replaced = {_key(endpoint) for endpoint in supervised if endpoint.ready and endpoint.verified}
    for endpoint in endpoints:
        if endpoint.state != "orphan" or endpoint.host_port in declared.get(endpoint.revision, ()):
            continue  # what the gateway knows may get a request at any moment
        if endpoint.revision not in keep or _key(endpoint) in replaced:
            operations.append(EndOrphan(endpoint))
    busy = {e.revision for e in supervised if e.host_port in declared.get(e.revision, ())}
    unwanted = {endpoint.revision for endpoint in supervised} - keep.keys() - busy
    operations += [Stop(revision) for revision in sorted(unwanted)]
    if champion:
        operations.append(Point(champion))
    return operations


def _key(endpoint: Endpoint) -> tuple[str, str]:
    return (endpoint.revision, endpoint.gpu)


def may_warm(host: str, order: Iterable[str], cold: frozenset[str], max_surge: int) -> bool:
    """Whether this host may warm a challenger now: fewer than `max_surge` of the hosts before it are still cold."""
    order = tuple(order)
    return host in order and sum(other in cold for other in order[: order.index(host)]) < max_surge


@dataclass(frozen=True)
class SetEndpoints:
    """The gateway should know these revisions and no others; those with traffic are among them."""

    addresses: Mapping[str, tuple[HostPort, ...]]


@dataclass(frozen=True)
class SetSplit:
    """The gateway should split the traffic in this way."""

    split: Split


@dataclass(frozen=True)
class Finalize:
    """The gateway should forget the recipe: it has no champion, and its first release failed."""


TrafficOperation = SetEndpoints | SetSplit | Finalize


def traffic_plan(actions: Iterable[Action], fleet: Fleet) -> TrafficOperation | None:
    """The next operation of the gateway, one at a time: shift traffic, add a revision, remove another."""
    actions = tuple(actions)
    split = next((action.split for action in actions if isinstance(action, Route)), Split())
    if not fleet.alive:
        return None
    if not split.weights:
        return Finalize() if fleet.split.weights or fleet.addresses else None
    if split != fleet.split and _can_shift(split, fleet):
        return SetSplit(split)
    serve = [action.package.revision for action in actions if isinstance(action, Serve)]
    wanted = {revision: addresses for revision in serve if (addresses := _addresses(revision, fleet))}
    routed = _routed(fleet.split)
    for revision, addresses in fleet.addresses.items():  # one that has or may get a request stays
        if revision in routed or fleet.active.get(revision):
            wanted.setdefault(revision, addresses)
    complete = {revision: _with_old(revision, addresses, fleet) for revision, addresses in wanted.items()}
    return SetEndpoints(complete) if complete != dict(fleet.addresses) else None


def _can_shift(split: Split, fleet: Fleet) -> bool:
    """Whether each revision whose share grows from at most half is healthy, and the gateway knows the others."""
    growing = set()
    for revision, weight in split.weights.items():
        before = fleet.split.weights.get(revision, 0)
        if weight > before and before <= 50:
            growing.add(revision)
    others = {split.mirror, split.fallback} - {""}
    return all(fleet.healthy.get(revision) for revision in growing) and others <= fleet.addresses.keys()


def _routed(split: Split) -> set[str]:
    return {revision for revision, weight in split.weights.items() if weight} | ({split.mirror, split.fallback} - {""})


def _addresses(revision: str, fleet: Fleet) -> tuple[HostPort, ...]:
    """For each GPU of each host its verified and supervised process; if there is none, what the gateway knows already.

    Whether a known endpoint answers at the moment is for the gateway's health checks to find out.
    """
    known = fleet.addresses.get(revision, ())
    chosen: set[HostPort] = set()
    living = [e for e in fleet.endpoints if e.revision == revision and e.state not in ("failed", "stopped")]
    for place in {(e.host, e.gpu) for e in living}:
        own = [e for e in living if (e.host, e.gpu) == place]
        best = [e for e in own if e.ready and e.verified and e.state != "orphan"]
        kept = [e for e in own if e.host_port in known or (e.state == "orphan" and e.ready)]
        chosen |= {e.host_port for e in best or kept}
    return tuple(sorted(chosen)) or known


def _with_old(revision: str, addresses: tuple[HostPort, ...], fleet: Fleet) -> tuple[HostPort, ...]:
    """`addresses`, and the old ones until one of the new passes the gateway's health checks."""
    old = fleet.addresses.get(revision, ())
    if any(address in fleet.healthy.get(revision, ()) for address in addresses) or not set(old) - set(addresses):
        return addresses
    return tuple(sorted({*old, *addresses}))
