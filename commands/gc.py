"""`ratchet gc`: frees the disk of what nothing needs."""

from __future__ import annotations

import time

import click

from commands._stack import stack


@click.command("gc")
@click.option("--older-than", "days", type=click.FloatRange(0), default=30, show_default=True, help="Days.")
@click.option("--dry-run", is_flag=True, help="Only list it.")
def command(days: float, dry_run: bool) -> None:
    """Remove unpacked bentos, finished trainings and rotated logs that are old and not needed.

    Never the champion's, the previous one's, or what a release or a rollback under way needs. What
    MLflow, the lake and the ledger hold is not touched: a bento that was removed is fetched again.
    """
    from releases import gc, requests

    running, book = stack(), requests.ledger()
    homes = [running.settings, *(host.settings for host in running.hosts())]
    states = {recipe: requests.state_of(recipe, book) for recipe in book.recipes()}
    litter = gc.find(homes, states, time.time() - days * 86400)
    for each in litter:
        click.echo(f"{each.bytes / 1e6:8.1f} MB  {each.path}")
    if not dry_run:
        gc.remove(litter)
    verb = "would be freed" if dry_run else "freed"
    click.echo(f"{sum(each.bytes for each in litter) / 1e6:.1f} MB {verb}")
