"""`ratchet quarantine`: refused records and batches."""

import dataclasses
import json
from pathlib import Path

import click

from commands._stack import json_option, why_required


@click.group("quarantine")
def command() -> None:
    """List refused records and batches; admit or drop them."""


def _home(recipe: str) -> Path:
    from ratchet.lake.ingest import lake
    from ratchet.recipe import source

    source(recipe)
    return lake(recipe)


@command.command("list")
@click.argument("recipe")
@json_option
def list_(recipe: str, as_json: bool) -> None:
    """List what is in quarantine, one line per batch and reason."""
    from ratchet.lake import quarantine

    entries = quarantine.entries(_home(recipe))
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(entry) for entry in entries], indent=1))
        return
    for entry in entries:
        click.echo(f"{entry.batch}  {entry.kind:6}  {entry.rows:6} rows  {entry.at}  {entry.who}: {entry.reason}")
    if not entries:
        click.echo("quarantine is empty")


@command.command("show")
@click.argument("recipe")
@click.argument("batch")
@click.option("-n", "--lines", default=20, show_default=True, type=click.IntRange(1))
@json_option
def show(recipe: str, batch: str, lines: int, as_json: bool) -> None:
    """Show the rows of BATCH with their reasons."""
    from ratchet.lake import quarantine

    rows = quarantine.show(_home(recipe), batch)
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    for row in rows[:lines]:
        click.echo(f"{row['kind']:6}  {row.get('name') or str(row.get('record'))[:16]}: {row['reason']}")
    if len(rows) > lines:
        click.echo(f"and {len(rows) - lines} more; -n {len(rows)} shows all")


def _decision(name: str, result: str, help: str) -> None:
    """Adds a command that decides about a batch."""

    @command.command(name, help=help)
    @click.argument("recipe")
    @click.argument("batch")
    @why_required
    def apply(recipe: str, batch: str, why: str) -> None:
        from ratchet.lake import quarantine
        from releases.api import person

        decision = {"admit": quarantine.admit, "drop": quarantine.drop}[name]
        click.echo(f"batch {batch}: {decision(_home(recipe), batch, person(), why)} {result}")


_decision(
    "admit",
    "records admitted; the next run trains on them",
    "Admit BATCH although its suite failed, as a new version of the records.",
)
_decision("drop", "rows dropped", "Remove BATCH from quarantine; older versions of the table still hold it.")
