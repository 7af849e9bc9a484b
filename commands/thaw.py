"""`ratchet thaw RECIPE`: releases are taken again."""

from __future__ import annotations

import click

from commands._stack import WHY


@click.command("thaw")
@click.argument("recipe")
@click.option("--why", type=WHY, default="asked for by hand", show_default=True, help="For the record.")
def command(recipe: str, why: str) -> None:
    """Take releases of RECIPE again."""
    from ratchet.recipe import source
    from releases import requests

    source(recipe)
    requests.steer(recipe, "thaw", requests.person(), why)
    click.echo(f"{recipe}: takes releases again")
