"""`ratchet quarantine`: what was refused, and a person's word on it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from commands._stack import WHY


@click.group("quarantine")
def command() -> None:
    """Look at refused records and batches; admit or drop them."""


def _home(recipe: str) -> Path:
    from ratchet.lake.ingest import lake
    from ratchet.recipe import source

    source(recipe)
    return lake(recipe)


@command.command("list")
@click.argument("recipe")
@click.option("--json", "as_json", is_flag=True, help="For a script.")
def list_(recipe: str, as_json: bool) -> None:
    """List what is in quarantine, a line for each batch and reason."""
    from ratchet.lake import quarantine

    entries = quarantine.entries(_home(recipe))
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(e) for e in entries], indent=1))
        return
    for e in entries:
        click.echo(f"{e.batch}  {e.kind:6}  {e.rows:6} rows  {e.at}  {e.who}: {e.reason}")
    if not entries:
        click.echo("quarantine is empty")


@command.command("show")
@click.argument("recipe")
@click.argument("batch")
@click.option("-n", "--lines", default=20, show_default=True, type=click.IntRange(1))
@click.option("--json", "as_json", is_flag=True, help="Every row, for a script.")
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
        click.echo(f"and {len(rows) - lines} more; -n {len(rows)} shows them all")


@command.command("admit")
@click.argument("recipe")
@click.argument("batch")
@click.option("--why", type=WHY, required=True, help="For the record.")
def admit(recipe: str, batch: str, why: str) -> None:
    """Admit BATCH although its suite failed; a new version of the records."""
    from ratchet.lake import quarantine
    from releases.requests import person

    rows = quarantine.admit(_home(recipe), batch, person(), why)
    click.echo(f"batch {batch}: {rows} records admitted; the next run trains on them")


@command.command("drop")
@click.argument("recipe")
@click.argument("batch")
@click.option("--why", type=WHY, required=True, help="For the record.")
def drop(recipe: str, batch: str, why: str) -> None:
    """Take BATCH off the list; older versions of the table still hold it."""
    from ratchet.lake import quarantine
    from releases.requests import person

    rows = quarantine.drop(_home(recipe), batch, person(), why)
    click.echo(f"batch {batch}: {rows} rows dropped")
