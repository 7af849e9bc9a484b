"""Performs what `reconcile.traffic_plan` asks for. Thin: each is one call that may be repeated."""

from __future__ import annotations

from pathlib import Path

from models import registry
from ratchet.fleet.gateway import Gateway
from ratchet.words import Package
from releases import reconcile


def fetch(package: Package, path: Path) -> None:
    """A package's `.bento`, from MLflow: that is where a host gets it from."""
    registry.download(package.artifact, path)


def perform(operation: reconcile.TrafficOperation, recipe: str, gateway: Gateway) -> str:
    """Does one operation; returns it in words."""
    match operation:
        case reconcile.Declare(places):
            gateway.declare(recipe, places)
            told = ", ".join(f"{arm} at {[port for _, port in ends]}" for arm, ends in sorted(places.items()))
            return f"tells the gateway of {told}"
        case reconcile.Turn(split):
            gateway.turn(recipe, split)
            told = ", ".join(f"{weight} % to {arm}" for arm, weight in split.weights.items())
            return f"turns the gateway: {told}" + (f", {split.percent} % mirrored" if split.mirror else "")
        case reconcile.Close():
            gateway.finalize(recipe)
            return "takes the recipe off the gateway"
