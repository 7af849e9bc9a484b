"""What several commands share: the stack's environment, and progress lines."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from ratchet.errors import Refusal
from ratchet.files import save
from ratchet.fleet.stack import HOST, Stack
from ratchet.local_http import unusable_proxies
from ratchet.settings import settings
from releases.api import one_line
from releases.state import Order

if TYPE_CHECKING:
    from models.registry import Version


class _Why(click.ParamType):
    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return one_line(value)


WHY = _Why()
"""A reason that is not empty."""
why_option = click.option("--why", type=WHY, default="requested by hand", show_default=True, help="For the record.")
why_required = click.option("--why", type=WHY, required=True, help="For the record.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for a script.")


def stack() -> Stack:
    """The stack of this home, which Prefect's and MLflow's clients in this process then use."""
    own = Stack(settings())
    for name in unusable_proxies():
        click.secho(f"{name} names no HTTP proxy, so it is not used", err=True, fg="yellow")
        del os.environ[name]
    os.environ.update({name: value for name, value in own.environment().items() if not name.startswith("RATCHET_")})
    os.environ["PREFECT_LOGGING_LEVEL"] = "ERROR"
    return own


def find_version(recipe: str, number: str | None) -> Version:
    """A version of a recipe, the champion by default. Raises Refusal if there is none."""
    from models import registry
    from ratchet.recipe import source
    from releases import api

    source(recipe)
    if number is None:
        champion = api.state_of(recipe).champion
        if champion is None:
            raise Refusal("there is no champion", recipe, "Name a version; MLflow lists them")
        number = champion.version
    version = registry.version(recipe, number)
    if version is None:
        raise Refusal(
            "there is no such version",
            f"version {number} of {recipe}",
            "It was never registered, or was deleted in MLflow",
        )
    return version


def steering(order: Order, result: str, help: str) -> click.Command:
    """A command that enters one order into the ledger, with who and why."""

    @click.command(order, help=help)
    @click.argument("recipe")
    @why_option
    def steer(recipe: str, why: str) -> None:
        from ratchet.recipe import source
        from releases import api

        source(recipe)
        api.steer(recipe, order, api.person(), why)
        click.echo(f"{recipe}: {result.format(recipe)}")

    return steer


def require_controller() -> None:
    """Raises Refusal if no controller runs that would follow a request."""
    if not stack().controller_ticks():
        what = "the controller does not run, so the request would not be executed"
        raise Refusal(what, settings().home, "Run `ratchet up`")


def start_host(host: Stack) -> None:
    """Starts another host's agent and worker, under a supervisor of its own."""
    host.open(lambda line: click.echo(line, err=True), servers=False)
    save(host.settings.home / "host.json", {"name": host.settings.host_name})
    host.start(HOST)


def progress() -> Callable[[set[str]], None]:
    """Shows what is still missing: a changing line on a terminal, one line per change in a pipe."""
    started, last = time.monotonic(), [set[str]()]

    def report(missing: set[str]) -> None:
        seconds = time.monotonic() - started
        if sys.stderr.isatty():
            line = f"waiting for {', '.join(sorted(missing))} ({seconds:.0f} s)" if missing else ""
            click.echo(f"\r\033[K{line}", nl=False, err=True)
        for name in sorted(last[0] - missing):
            click.echo(f"{name} is healthy ({seconds:.0f} s)", err=True)
        last[0] = set(missing)

    return report
