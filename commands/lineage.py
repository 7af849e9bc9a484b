"""`ratchet lineage RECIPE [VERSION]`: from the batch to the process that answers, each digest checked now."""

import dataclasses
import json

import click

from commands._stack import find_version, json_option
from ratchet.errors import Refusal

_STATES = {True: "holds", False: "BROKEN", None: "-"}


@click.command("lineage")
@click.argument("recipe")
@click.argument("version", required=False)
@json_option
def command(recipe: str, version: str | None, as_json: bool) -> None:
    """Verify the chain of VERSION of RECIPE (default: the champion): data, weights, export, benchmark, bento,
    responses. The exit status is 1 if a link is broken.
    """
    from ratchet.recipe import load
    from releases.lineage import chain

    registered, links = find_version(recipe, version), []
    for link in chain(load(recipe), registered):
        links.append(link)
        if not as_json:
            click.echo(f"{_STATES[link.holds]:7} {link.name:10} {link.digest[:16]:16}  {link.detail}")
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(link) for link in links], indent=1))
    if broken := [link.name for link in links if link.holds is False]:
        what = f"the chain is broken at {', '.join(broken)}"
        raise Refusal(what, f"version {registered.version} of {recipe}", "See above")
