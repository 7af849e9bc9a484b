"""`ratchet new NAME --kind KIND PATH`: a recipe for data of one's own."""

from pathlib import Path

import click

from ratchet import kinds
from ratchet.errors import Refusal


@click.command("new")
@click.argument("name")
@click.option("--kind", type=click.Choice(kinds.names()), required=True, help="What an input is.")
@click.option("--target", default="", help="Of a table: the column with the label.")
@click.option(
    "--horizon",
    type=click.IntRange(0),
    default=0,
    help="Of a series: how many values are forecast. By default those of a day.",
)
@click.option(
    "--window",
    type=click.IntRange(0),
    default=0,
    help="Of a series: from how many values. By default seven times the horizon.",
)
@click.option("--column", "columns", multiple=True, metavar="NAME=THEIRS", help="A column that has another name there.")
@click.option("--delimiter", default="", help="Of CSV; it is found otherwise.")
@click.option("--decimal", type=click.Choice([".", ","]), default=".", help="The decimal mark of numbers in CSV.")
@click.option("--encoding", default="", help="Of CSV and JSON lines; it is found otherwise.")
@click.option("--time", default="", help="The pattern of times, such as %m/%d/%Y; it is found otherwise.")
@click.option("--zone", default="", help="The zone of times without one, such as Europe/Berlin; UTC otherwise.")
@click.argument("path", type=click.Path(path_type=Path))
def command(
    name: str,
    kind: str,
    target: str,
    horizon: int,
    window: int,
    columns: tuple[str, ...],
    delimiter: str,
    decimal: str,
    encoding: str,
    time: str,
    zone: str,
    path: Path,
) -> None:
    """Write the recipe NAME for the data at PATH, a file of two dozen lines to read and change, and try it.

    PATH is a folder with one folder of image files per class, or with a table of `path` and `label`; a file with the
    columns `text` and `label`, or with `time` and `value`; or any table, of which --target names the column to
    predict. Files are CSV, JSON lines, Parquet or Arrow. The recipe is written into the last folder of RATCHET_RECIPES,
    or into `recipes/`. What the loop would do with it is printed: what is read, how it is split, whether its suite
    holds, and what simple models reach.
    """
    from flows.preview import preview
    from ratchet.lake.outline import Given
    from ratchet.lake.scaffold import scaffold
    from ratchet.layout import Layout
    from ratchet.recipe import load

    named = dict(each.partition("=")[::2] for each in columns)
    if not all(named.values()) or not all(named):
        raise Refusal("a column is given without a name", ", ".join(columns), "Give it as `--column text=body`")
    try:
        layout = Layout(named, delimiter, decimal, encoding, time, zone)
    except ValueError as error:
        raise Refusal(str(error), name, "See `ratchet new --help`") from error
    written = scaffold(name, kind, path, Given(layout, target, horizon, window))
    click.echo(f"wrote {written.path} for {written.records} records")
    for fact in written.facts:
        click.echo(fact)
    if written.refused:
        click.echo(f"{written.refused} others would go to quarantine; the first reason is: {written.why}")
    try:
        result = preview(load(name), lambda line: click.echo(f"{line} …", err=True))
    except KeyboardInterrupt:
        written.path.unlink()  # so that the same command can be run again
        raise
    for figure in result.figures:
        click.echo(figure)
    for problem in result.problems:
        click.echo(f"The loop would refuse it: {problem}", err=True)
    if result.problems:
        raise SystemExit(1)
    click.echo(f"Read it, then run `ratchet up` and `ratchet loop {name}`")
