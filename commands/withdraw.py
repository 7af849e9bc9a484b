"""`ratchet withdraw RECIPE BATCH`: for data found bad later."""

from __future__ import annotations

import click

from commands._stack import WHY


@click.command("withdraw")
@click.argument("recipe")
@click.argument("batch")
@click.option("--why", type=WHY, required=True, help="For the record.")
def command(recipe: str, batch: str, why: str) -> None:
    """Take an admitted BATCH out of the records, into quarantine; the next run trains without it."""
    from ratchet.lake import quarantine
    from ratchet.lake.ingest import lake
    from ratchet.recipe import source
    from releases.requests import person

    source(recipe)
    rows = quarantine.withdraw(lake(recipe), batch, why, person())
    click.echo(f"batch {batch}: {rows} records withdrawn; a version trained on them serves until a run replaces it")
