"""`ratchet withdraw RECIPE BATCH`: removes data that turns out bad later."""

import click

from commands._stack import why_required


@click.command("withdraw")
@click.argument("recipe")
@click.argument("batch")
@why_required
def command(recipe: str, batch: str, why: str) -> None:
    """Move an admitted BATCH from the records to quarantine, or one that waits for its validation.

    The next run trains without it.
    """
    from ratchet.lake import quarantine
    from ratchet.lake.ingest import lake
    from ratchet.recipe import source
    from releases.api import person

    source(recipe)
    rows, admitted = quarantine.withdraw(lake(recipe), batch, why, person())
    trained = "a version trained on them serves until a run replaces it"
    click.echo(f"batch {batch}: {rows} records withdrawn{f'; {trained}' if admitted else ' before their validation'}")
