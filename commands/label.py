"""`ratchet label RECIPE FILE`: the right answers to requests that were served."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TextIO

import click

from ratchet.errors import Refusal


@click.command("label")
@click.argument("recipe")
@click.argument("file", type=click.File("r", encoding="utf-8"))
def command(recipe: str, file: TextIO) -> None:
    """Tell what the right class of served requests was: rows of `request id,class` in FILE, `-` for standard input.

    The id is the answer's header `x-request-id`, the class that of the request's first input. While a
    version is on trial or bakes, its answers are held against them, and the champion's too.
    """
    from ratchet.recipe import load
    from releases import labels, requests

    classes = load(recipe).classes
    if not classes:
        raise Refusal("its answers are forecasts, not classes", recipe, "Ingest what came next: `ratchet ingest`")
    found = labels.read(file, classes, Path(file.name))
    requests.ledger().label(recipe, found, time.time())
    click.echo(f"{recipe}: {len(found)} labels are kept")
