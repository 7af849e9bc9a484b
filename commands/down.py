"""`ratchet down`: stops everything."""

import click

from commands._stack import stack
from ratchet.errors import Refusal
from ratchet.fleet.stack import running_replays
from ratchet.settings import settings


@click.command("down")
def command() -> None:
    """Stop everything of this home and leave no process behind. All state is kept."""
    running = stack()
    with running.lock() as acquired:
        if not acquired:
            raise Refusal("another `ratchet up` or `down` is running", settings().home, "Wait for it")
        if running.supervisor.pid():
            click.echo("stopping; requests in flight are finished", err=True)
        ended = sum(host.close() for host in running.hosts()) + running.close()
    note = f" ({ended} processes that had outlived their parent were ended)" if ended else ""
    click.echo(f"nothing is running{note}")
    for home in running_replays(settings().home):
        click.echo(
            f"the stack of a replay still runs; if its replay was killed, end it: RATCHET_HOME={home} ratchet down"
        )
