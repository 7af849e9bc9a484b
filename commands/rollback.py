"""`ratchet rollback RECIPE`: the last good champion is back in seconds."""

from __future__ import annotations

import time

import click

from commands._stack import WHY, ticking


@click.command("rollback")
@click.argument("recipe")
@click.option("--why", type=WHY, default="asked for by hand", show_default=True, help="For the record.")
def command(recipe: str, why: str) -> None:
    """Put back the newest former champion of RECIPE that was never rolled back from.

    While a release is on trial, it is ended and the champion keeps all traffic. Needs the controller
    and the gateway alone; Prefect and MLflow may be down.
    """
    from ratchet.recipe import source
    from releases import requests

    source(recipe)
    ticking()
    started = time.monotonic()
    target = requests.rollback(recipe, requests.person(), why)
    click.echo(f"going back to version {target.version}", err=True)
    requests.watch(target, lambda line: click.echo(line, err=True))
    click.echo(f"version {target.version} serves after {time.monotonic() - started:.1f} s")
