"""`ratchet ingest RECIPE PATH`: lands one batch, exactly once."""

from functools import partial
from pathlib import Path

import click

from ratchet.errors import Refusal


@click.command("ingest")
@click.argument("recipe")
@click.argument("path", required=False, type=click.Path())
@click.option("--next", "next_", is_flag=True, help="The recipe's own next batch instead of a PATH.")
@click.option("--sql", is_flag=True, help="The new rows of the recipe's database instead of a PATH.")
def command(recipe: str, path: str | None, next_: bool, sql: bool) -> None:
    """Land the records of PATH as one batch of RECIPE. The same file again adds nothing.

    Images: IDX (gzipped or not), .npz, Parquet, a CSV of pixels, or a folder of image files per class. Texts, series
    and tables: CSV, JSON lines, Parquet or Arrow with `text` and `label`, with `time` and `value`, or with the recipe's
    columns; the recipe's `layout` names them where a file has other names. Records that violate the recipe's contract
    go to quarantine with their reason. The next run of the loop validates the batch before it is admitted.
    """
    from ratchet.lake import database, ingest
    from ratchet.recipe import load
    from releases.api import person

    loaded = load(recipe)
    if path == "" or (path is not None) + next_ + sql != 1:
        raise Refusal("give one of PATH, --next and --sql", recipe, "See `ratchet ingest --help`")
    report = partial(click.echo, err=True)
    report(f"reading {path or ('the database' if sql else 'the next batch')} …")
    if path is not None:
        batch = ingest.land(loaded, Path(path), person(), report)
    elif sql:
        new = database.land(loaded, person(), report)
        if new is None:
            click.echo("the database has no new row; nothing was added")
            return
        batch = new
    else:
        ids = {feed: ingest.feed_id(loaded, feed) for feed in loaded.batches}
        feeds = [feed for feed, id in ids.items() if not ingest.landed(loaded, id)]
        # One that was refused may have been corrected, but must not keep the later ones out.
        feed = min(feeds, key=lambda feed: ingest.was_refused(loaded, ids[feed]), default=None)
        if feed is None:
            raise Refusal("all of the recipe's own batches have landed", recipe, "Give a PATH with new records")
        batch = ingest.land_feed(loaded, feed, person(), report)
    if not batch.new:
        click.echo(f"batch {batch.id} had landed before; nothing was added")
        return
    total = batch.accepted + batch.quarantined
    counts = f"{batch.accepted} landed, {batch.quarantined} went to quarantine"
    click.echo(f"batch {batch.id}: {total} records came in, {counts}")
    for remark in batch.remarks:
        click.echo(remark)
    if others := batch.quarantined - sum(batch.reasons.values()):
        click.echo(f"{others} in quarantine for other reasons")
    show = f"ratchet quarantine show {recipe} {batch.id}"
    if not batch.accepted:
        raise Refusal("no record of it could be admitted", batch.source, f"See each: {show}")
    if batch.quarantined:
        click.echo(f"see each: {show}")
