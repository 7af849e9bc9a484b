"""`ratchet label RECIPE FILE`: labels for requests that were served."""

from pathlib import Path
from typing import BinaryIO

import click


@click.command("label")
@click.argument("recipe")
@click.argument("file", type=click.File("rb"))
def command(recipe: str, file: BinaryIO) -> None:
    """Add the labels of served requests: rows of `request id,label` in FILE, `-` for standard input.

    The id is the response's header `x-request-id`. Of a batch, `request id,row,label` names the row, counted from 0.
    While a version is on trial or bakes, its predictions and the champion's are compared with the labels; later they
    measure what serves, and become training data where the recipe keeps inputs.
    """
    from ratchet.lake import outcomes
    from ratchet.recipe import load
    from releases import api, label_file

    loaded, source = load(recipe), Path(file.name)
    labels = label_file.read_bytes(file.read(label_file.MAX_BYTES + 1), loaded.answers, recipe, source)
    ledger, who = api.open_ledger(), api.person()
    label_file.add(ledger, loaded, labels, "file", who)
    joined = outcomes.update(loaded, who)
    click.echo(f"{recipe}: labels read: {len(labels)}, new or corrected: {len(joined.outcomes)}")
    if unknown := {request for request, _ in labels} - api.recent_requests(recipe, ledger) - joined.requests:
        what = "of these, labels of a request that was not answered lately"
        click.echo(f"{what}: {len(unknown)}, such as {min(unknown)}", err=True)
