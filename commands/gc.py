"""`ratchet gc`: frees disk space."""

import time

import click

from commands._stack import stack
from ratchet.scratch import sweep


@click.command("gc")
@click.option("--older-than", "days", type=click.FloatRange(0), default=30, show_default=True, help="Days.")
@click.option("--dry-run", is_flag=True, help="Only list what would be removed.")
def command(days: float, dry_run: bool) -> None:
    """Remove unpacked bentos, finished trainings and rotated logs that are old and not needed.

    The bentos of the champion, of the previous champion, and of a release or rollback in progress are kept. What
    MLflow, the lake and the ledger hold is not touched: a removed bento is fetched again when it is needed.
    """
    from releases import api, gc

    running, ledger = stack(), api.open_ledger()
    homes = [running.settings, *(host.settings for host in running.hosts())]
    states = {recipe: api.state_of(recipe, ledger) for recipe in ledger.recipes()}
    garbage = gc.find(homes, states, time.time() - days * 86400)
    for each in garbage:
        click.echo(f"{each.bytes / 1e6:8.1f} MB  {each.path}")
    if not dry_run:
        gc.remove(garbage)
        if swept := sum(map(sweep, homes)):
            click.echo(f"{swept} scratch folders of killed processes removed")
    verb = "would be freed" if dry_run else "freed"
    click.echo(f"{sum(each.bytes for each in garbage) / 1e6:.1f} MB {verb}")
