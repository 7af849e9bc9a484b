"""`ratchet logs NAME`: the log of a process."""

import time

import click

from commands._stack import stack
from ratchet.errors import Refusal


@click.command("logs")
@click.argument("name", required=False)
@click.option("-n", "--lines", default=50, show_default=True, type=click.IntRange(1))
@click.option("-f", "--follow", is_flag=True, help="Continue as the log grows.")
def command(name: str | None, lines: int, follow: bool) -> None:
    """Show the log of the process NAME; without a name, list the logs."""
    folder = stack().supervisor.logs
    names = sorted(path.stem for path in folder.glob("*.log"))
    if name is None:
        click.echo("\n".join(names) or "there are no logs yet")
        return
    if name not in names:
        raise Refusal("there is no such log", name, f"Choose one of: {', '.join(names) or 'none yet'}")
    path = folder / f"{name}.log"
    with path.open(encoding="utf-8", errors="replace") as file:
        click.echo("".join(file.readlines()[-lines:]), nl=False)
        while follow:
            if line := file.readline():
                click.echo(line, nl=False)
                continue
            if file.tell() > path.stat().st_size:  # the log was rotated
                file.seek(0)
            time.sleep(0.3)
