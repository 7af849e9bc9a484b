"""`ratchet label RECIPE FILE`: labels for requests that were served."""

import time
from pathlib import Path
from typing import TextIO

import click

from ratchet.errors import Refusal


@click.command("label")
@click.argument("recipe")
@click.argument("file", type=click.File("r", encoding="utf-8"))
def command(recipe: str, file: TextIO) -> None:
    """Add the labels of served requests: rows of `request id,class` in FILE, `-` for standard input.

    The id is the response's header `x-request-id`, the class that of the request's first input. While a version is
    on trial or bakes, its predictions and the champion's are compared with the labels.
    """
    from ratchet.recipe import load
    from releases import api, labels

    classes = load(recipe).classes
    if not classes:
        next = "Ingest the actual values: `ratchet ingest`"
        raise Refusal("the recipe forecasts, so it has no classes", recipe, next)
    by_request = labels.read(file, classes, Path(file.name))
    api.open_ledger().add_labels(recipe, by_request, time.time())
    click.echo(f"{recipe}: {len(by_request)} labels added")
