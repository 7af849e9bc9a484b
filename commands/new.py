"""`ratchet new NAME --kind KIND PATH`: a recipe for data of one's own."""

from pathlib import Path

import click

from ratchet import kinds


@click.command("new")
@click.argument("name")
@click.option("--kind", type=click.Choice(kinds.names()), required=True, help="What an input is.")
@click.option("--target", default="", help="Of a table: the column with the label.")
@click.argument("path", type=click.Path(path_type=Path))
def command(name: str, kind: str, target: str, path: Path) -> None:
    """Write the recipe NAME for the data at PATH: a file of two dozen lines to read and change.

    PATH is a folder with one folder of image files per class, a CSV or Parquet file with the columns `text` and
    `label`, one with `time` (ISO 8601; without a zone it is UTC) and `value`, or any table, of which --target names
    the column to predict. The recipe is written into the last
    folder of RATCHET_RECIPES, or into `recipes/`.
    """
    from ratchet.lake.scaffold import scaffold

    written = scaffold(name, kind, path, target)
    click.echo(f"wrote {written.path} for {written.records} records")
    if written.refused:
        click.echo(f"{written.refused} others would go to quarantine; the first reason is: {written.why}")
    click.echo(f"Read it, then run `ratchet up` and `ratchet loop {name}`")
