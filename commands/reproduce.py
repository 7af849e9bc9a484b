"""`ratchet reproduce RECIPE [VERSION]`: trains a version again from its snapshot and compares the weights."""

import os

import click

from commands._stack import find_version
from ratchet.errors import Refusal


@click.command("reproduce")
@click.argument("recipe")
@click.argument("version", required=False)
def command(recipe: str, version: str | None) -> None:
    """Train VERSION of RECIPE (default: the champion) again from the same snapshot and parameters.

    It prints that the SHA-256 of the weights is the same, or what differs with exit status 1. Nothing is registered.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is loaded
    from models import candidate as candidates
    from ratchet.recipe import load

    registered = find_version(recipe, version)
    candidate = candidates.read(registered)
    weights = candidates.reproduce(load(recipe), candidate, click.echo)
    if weights == candidate.weights:
        click.echo(f"version {registered.version} of {recipe}: the same weights, {weights[:16]}")
        return
    what = f"the weights are {weights[:16]}, and version {registered.version} has {candidate.weights[:16]}"
    next = "Try it with that commit and lock, on a machine of the same type"
    raise Refusal(what + candidates.differs(candidate), recipe, next)
