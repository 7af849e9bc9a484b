"""`ratchet freeze RECIPE`: no release until thawed."""

from __future__ import annotations

import click

from commands._stack import WHY


@click.command("freeze")
@click.argument("recipe")
@click.option("--why", type=WHY, default="asked for by hand", show_default=True, help="For the record.")
def command(recipe: str, why: str) -> None:
    """Take no release of RECIPE until it is thawed; rollbacks are still taken."""
    from ratchet.recipe import source
    from releases import requests

    source(recipe)
    requests.steer(recipe, "freeze", requests.person(), why)
    click.echo(f"{recipe}: frozen; thaw it with `ratchet thaw {recipe}`")
