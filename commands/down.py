"""`ratchet down`: nothing left running."""

from __future__ import annotations

import click

from commands._stack import stack
from ratchet.errors import Refusal
from ratchet.settings import settings


@click.command("down")
def command() -> None:
    """Stop everything of this home and leave no process behind; all state stays."""
    running = stack()
    with running.lock() as alone:
        if not alone:
            raise Refusal("another `ratchet up` or `down` is at work", settings().home, "Wait for it")
        if running.supervisor.pid():
            click.echo("stopping; requests under way are finished", err=True)
        left = sum(host.close() for host in running.hosts()) + running.close()
    click.echo(
        "nothing is running" + (f" ({left} processes that had outlived their parent were ended)" if left else "")
    )
