"""`ratchet label RECIPE FILE`: labels for requests that were served."""

import time
from pathlib import Path
from typing import BinaryIO

import click

from ratchet.errors import Refusal


@click.command("label")
@click.argument("recipe")
@click.argument("file", type=click.File("rb"))
def command(recipe: str, file: BinaryIO) -> None:
    """Add the labels of served requests: rows of `request id,class` in FILE, `-` for standard input.

    The id is the response's header `x-request-id`, the class that of the request's first input. While a version is
    on trial or bakes, its predictions and the champion's are compared with the labels.
    """
    from ratchet.recipe import load
    from releases import api, labels

    answers = load(recipe).answers
    if not answers.classes:
        next = "Ingest the actual values: `ratchet ingest`"
        raise Refusal(f"the recipe's task is {answers.task}, so it has no classes", recipe, next)
    source = Path(file.name)
    content = file.read(labels.MAX_BYTES + 1)
    if len(content) > labels.MAX_BYTES:
        raise Refusal(f"the file is larger than {labels.MAX_BYTES >> 20} MB", source, "Split the file")
    by_request = labels.read(labels.decode(content, source), answers.classes, source)
    ledger = api.open_ledger()
    ledger.add_labels(recipe, by_request, time.time())
    click.echo(f"{recipe}: labels added: {len(by_request)}")
    if unknown := by_request.keys() - api.recent_requests(recipe, ledger):
        what = "of these, labels of a request that was not answered lately"
        click.echo(f"{what}: {len(unknown)}, such as {min(unknown)}", err=True)
