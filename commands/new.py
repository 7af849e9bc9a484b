"""`ratchet new NAME --kind KIND PATH`: a recipe for data of one's own."""

from __future__ import annotations

from pathlib import Path

import click

from ratchet.contract import KINDS


@click.command("new")
@click.argument("name")
@click.option("--kind", type=click.Choice(KINDS), required=True, help="What an input is.")
@click.argument("path", type=click.Path(path_type=Path))
def command(name: str, kind: str, path: Path) -> None:
    """Draft the recipe NAME for the data at PATH: a file of a dozen lines, to be read and changed.

    PATH is a folder with a folder of PNG or JPEG for each class, a CSV or Parquet with the columns `text` and
    `label`, or one with `time` (ISO 8601, no zone is UTC) and `value`. It is written into the last folder that
    RATCHET_RECIPES names, or this project's own.
    """
    from ratchet.lake.draft import draft

    made = draft(name, kind, path)
    click.echo(f"wrote {made.path}, for {made.records} records")
    if made.refused:
        click.echo(f"{made.refused} others would go to quarantine, the first because: {made.why}")
    click.echo(f"Read it, then: `ratchet up`, `ratchet loop {name}`")
