"""`ratchet lineage RECIPE [VERSION]`: from the batch to the process that answers, each digest checked now."""

from __future__ import annotations

import dataclasses
import json

import click

from commands._stack import versioned
from ratchet.errors import Refusal


@click.command("lineage")
@click.argument("recipe")
@click.argument("version", required=False)
@click.option("--json", "as_json", is_flag=True, help="For a script.")
def command(recipe: str, version: str | None, as_json: bool) -> None:
    """Check the chain of a VERSION of RECIPE, the champion's unless named: data, weights, export, benchmark, bento,
    answers. Exit 1 where a link is broken.
    """
    from ratchet.recipe import load
    from releases.lineage import chain

    found, links = versioned(recipe, version), []
    for link in chain(load(recipe), found):
        links.append(link)
        if not as_json:
            said = {True: "holds", False: "BROKEN", None: "-"}[link.holds]
            click.echo(f"{said:7} {link.name:10} {link.digest[:16]:16}  {link.detail}")
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(link) for link in links], indent=1))
    if broken := [link.name for link in links if link.holds is False]:
        what = f"the chain is broken at {', '.join(broken)}"
        raise Refusal(what, f"version {found.version} of {recipe}", "See above")
