"""`ratchet rollback RECIPE`: the last good champion is back in seconds."""

from __future__ import annotations

import time

import click

from commands._stack import WHY, stack
from ratchet.errors import Refusal
from ratchet.settings import settings


@click.command("rollback")
@click.argument("recipe")
@click.option("--why", type=WHY, default="asked for by hand", show_default=True, help="For the record.")
def command(recipe: str, why: str) -> None:
    """Put back the newest former champion of RECIPE that was never rolled back from.

    Needs the controller and the gateway alone; Prefect and MLflow may be down.
    """
    from ratchet.recipe import source
    from releases import requests

    source(recipe)
    running = stack()
    if not running.controller_ticks():
        raise Refusal("the controller does not tick, so nobody would follow", settings().home, "Run `ratchet up`")
    started = time.monotonic()
    target = requests.rollback(recipe, requests.person(), why)
    click.echo(f"going back to version {target.version}", err=True)
    while time.monotonic() - started < settings().warm_seconds + settings().turn_seconds:
        state, _ = requests.state_of(recipe)
        if state.champion == target:
            click.echo(f"version {target.version} serves again after {time.monotonic() - started:.1f} s")
            return
        if state.phase == "idle":
            raise Refusal(
                f"the rollback failed: {state.why}",
                target.tag,
                "The champion goes on serving; see `ratchet logs controller`",
            )
        time.sleep(0.2)
    raise Refusal("the controller did not finish", target.tag, "See `ratchet logs controller`")
