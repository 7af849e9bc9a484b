"""`ratchet unsure RECIPE`: which recent requests a person should label first."""

import csv
import json
import sys

import click

from commands._stack import json_option
from ratchet.errors import Refusal


@click.command("unsure")
@click.argument("recipe")
@click.option("-n", "--count", default=50, show_default=True, type=click.IntRange(1, 10_000))
@json_option
def command(recipe: str, count: int, as_json: bool) -> None:
    """List recent requests without a label whose labels would teach the model of RECIPE most, as CSV or JSON.

    They are chosen by how probably the answer is wrong and how unusual the input is, and so that they differ. An input
    that the recipe keeps is there as well, in CSV if it is a text. Their labels are for training, and do not count as a
    measurement. With a column `label` the output becomes a file for `ratchet label`: cut it to the columns
    `request id`, `row` and `label`.
    """
    from flows import watching
    from ratchet.lake import predictions
    from ratchet.recipe import load
    from releases import api

    chosen = watching.unsure(load(recipe), count)
    if chosen is None:
        raise Refusal("nothing serves yet", recipe, "Release a version first: `ratchet loop`")
    if chosen:
        predictions.note_requested(recipe, [(each["request id"], each["row"]) for each in chosen], api.person())
    if as_json:
        click.echo(json.dumps(chosen, indent=1))
        return
    if not chosen:
        click.echo("every logged prediction has a label, or none is logged yet", err=True)
        return
    own = [name for name in chosen[0] if name != "input" or isinstance(chosen[0][name], str)]
    writer = csv.DictWriter(sys.stdout, own, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(chosen)
