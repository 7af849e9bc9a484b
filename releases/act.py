"""Performs the operations that `reconcile.plan` asks for. Thin: each is one call that may be repeated."""

from __future__ import annotations

from pathlib import Path

from bentos import golden
from models import registry
from ratchet.errors import Refusal
from ratchet.fleet.gateway import Backend, Gateway
from ratchet.fleet.gateway import Route as Split
from ratchet.fleet.host import Host
from ratchet.words import Package
from releases import reconcile
from releases.machine import Event, Failed, Healthy, Recorded


def fetch(package: Package, path: Path) -> None:
    """A package's `.bento`, from MLflow: that is where a host gets it from."""
    registry.download(package.artifact, path)


def perform(operation: reconcile.Operation, recipe: str, host: Host, gateway: Gateway, now: float) -> Event | None:
    """Does one operation; returns the event that it brought about. Raises Refusal when it could not be done."""
    match operation:
        case reconcile.Start(package):
            try:
                host.start(package, fetch)
            except Refusal as refusal:
                # For a champion the machine ignores it: it is tried again at the next tick.
                return Failed(package.version, str(refusal), now)
        case reconcile.Verify(package, port):
            return _verify(package, port, host, now)
        case reconcile.Turn(version, places):
            routes, backends = gateway.declared()
            arms = tuple(Backend(v, ends) for v, ends in sorted(places.items()))
            gateway.set_routes({**routes, recipe: Split(((version, 100),))}, {**backends, recipe: arms})
        case reconcile.Close():
            gateway.finalize(recipe)
        case reconcile.Stop(version):
            host.stop(recipe, version, wait=False)
        case reconcile.EndOrphan(arm):
            host.end_orphans(arm)
        case reconcile.Point(package):
            host.point_current(package)
        case reconcile.Write(champion, previous, outcomes):
            # What a person deleted has nowhere to write to; `status` tells that its alias is gone.
            registry.set_alias(recipe, "champion", champion)
            registry.set_alias(recipe, "previous", previous)
            for outcome in outcomes:
                registry.set_tag(recipe, outcome.version, "ratchet.release", outcome.outcome)
                registry.set_tag(recipe, outcome.version, "ratchet.release_why", outcome.why)
            return Recorded(champion, previous, len(outcomes), now)
    return None


def _verify(package: Package, port: int, host: Host, now: float) -> Event:
    folder = host.folder(package) / "src" / "model"
    try:
        count = golden.replay(f"http://127.0.0.1:{port}", package.recipe, folder)
    except Refusal as refusal:
        return Failed(package.version, str(refusal), now)
    return Healthy(package.version, {"golden": count, "port": port}, now)
