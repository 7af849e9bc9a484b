"""`ratchet reproduce RECIPE [VERSION]`: train a version again from its snapshot and compare the weights."""

from __future__ import annotations

import os

import click

from commands._stack import versioned
from ratchet.errors import Refusal


@click.command("reproduce")
@click.argument("recipe")
@click.argument("version", required=False)
def command(recipe: str, version: str | None) -> None:
    """Train a VERSION of RECIPE, the champion's unless named, again from the same snapshot and parameters.

    The same weights, by their SHA-256, or a sentence on what differs, and exit 1. Nothing is registered.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is loaded
    from models import candidate as candidates
    from ratchet.recipe import load

    found = versioned(recipe, version)
    told = candidates.read(found)
    weights = candidates.again(load(recipe), told, click.echo)
    if weights == told.weights:
        click.echo(f"version {found.version} of {recipe}: the same weights, {weights[:16]}")
        return
    raise Refusal(
        f"the weights are {weights[:16]}, and version {found.version} has {told.weights[:16]}"
        f"{candidates.differs(told)}",
        recipe,
        "Try it with that commit and lock, on a machine of that kind",
    )
