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
    home = lake(recipe)
    if batch in quarantine.pending(home):
        quarantine.refuse_landed(home, batch, f"withdrawn: {why}", person())
        click.echo(f"batch {batch}: withdrawn before its validation; no version was trained on it")
        return
    rows = quarantine.withdraw(home, batch, why, person())
    click.echo(f"batch {batch}: {rows} records withdrawn; a version trained on them serves until a run replaces it")
