"""`ratchet logs NAME`: any process's log."""

from __future__ import annotations

import time

import click

from commands._stack import stack
from ratchet.errors import Refusal


@click.command("logs")
@click.argument("name", required=False)
@click.option("-n", "--lines", default=50, show_default=True, type=click.IntRange(1))
@click.option("-f", "--follow", is_flag=True, help="Go on as it grows.")
def command(name: str | None, lines: int, follow: bool) -> None:
    """Show the log of the process NAME; without a name, which there are."""
    folder = stack().supervisor.logs
    known = sorted(p.stem for p in folder.glob("*.log"))
    if name is None:
        click.echo("\n".join(known) or "there are no logs yet")
        return
    if name not in known:
        raise Refusal("there is no such log", name, f"Known are: {', '.join(known) or 'none yet'}")
    with (folder / f"{name}.log").open(errors="replace") as file:
        click.echo("".join(file.readlines()[-lines:]), nl=False)
        while follow:
            if line := file.readline():
                click.echo(line, nl=False)
                continue
            if file.tell() > (folder / f"{name}.log").stat().st_size:  # begun anew
                file.seek(0)
            time.sleep(0.3)
