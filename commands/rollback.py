"""`ratchet rollback RECIPE`: back to the last good champion in seconds."""

import time

import click

from commands._stack import require_controller, why_option


@click.command("rollback")
@click.argument("recipe")
@why_option
def command(recipe: str, why: str) -> None:
    """Roll back to the newest former champion of RECIPE that was never rolled back.

    A release on trial is aborted, and the champion keeps all traffic. It needs the controller, the gateway and the
    agents alone; Prefect and MLflow may be down.
    """
    from ratchet.recipe import source
    from releases import api

    source(recipe)
    require_controller()
    started = time.monotonic()
    target = api.rollback(recipe, api.person(), why)
    click.echo(f"rolling back to version {target.version}", err=True)
    api.watch(target, lambda line: click.echo(line, err=True))
    click.echo(f"version {target.version} serves after {time.monotonic() - started:.1f} s")
