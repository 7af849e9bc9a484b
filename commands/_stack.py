"""What several commands share: this process's environment as the stack's, and a line that tells who is waited for."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from ratchet.errors import Refusal
from ratchet.files import keep
from ratchet.fleet.stack import HOST, Stack
from ratchet.settings import settings
from releases.requests import line
from releases.state import Order

if TYPE_CHECKING:
    from models.registry import Version


class _Why(click.ParamType):
    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return line(value)


WHY = _Why()
"""A reason that says something."""


def stack() -> Stack:
    """The stack of this home; Prefect's and MLflow's clients in this process then talk to it."""
    found = Stack(settings())
    os.environ.update({k: v for k, v in found.environment().items() if not k.startswith("RATCHET_")})
    os.environ["PREFECT_LOGGING_LEVEL"] = "ERROR"
    return found


def versioned(recipe: str, number: str | None) -> Version:
    """A version of a recipe, the champion where none is named. Raises Refusal where there is no such one."""
    from models import registry
    from ratchet.recipe import source
    from releases import requests

    source(recipe)
    if number is None:
        champion = requests.state_of(recipe).champion
        if champion is None:
            raise Refusal("there is no champion", recipe, "Name a version of it, too")
        number = champion.version
    if (found := registry.version(recipe, number)) is None:
        raise Refusal("there is no such version", f"version {number} of {recipe}", "See the MLflow UI")
    return found


def steering(order: Order, told: str, help: str) -> click.Command:
    """A command that enters one order of a hand on the wheel, with who and why."""

    @click.command(order, help=help)
    @click.argument("recipe")
    @click.option("--why", type=WHY, default="asked for by hand", show_default=True, help="For the record.")
    def steer(recipe: str, why: str) -> None:
        from ratchet.recipe import source
        from releases import requests

        source(recipe)
        requests.steer(recipe, order, requests.person(), why)
        click.echo(f"{recipe}: {told.format(recipe)}")

    return steer


def ticking() -> None:
    """Raises Refusal where no controller would follow what is asked."""
    if not stack().controller_ticks():
        raise Refusal("the controller does not tick, so nobody would follow", settings().home, "Run `ratchet up`")


def start_host(host: Stack) -> None:
    """A further host's agent and worker, under a supervisor of its own."""
    host.open(lambda line: click.echo(line, err=True), servers=False)
    keep(host.settings.home / "host.json", {"name": host.settings.host_name})
    host.start(HOST)


def waiting() -> Callable[[set[str]], None]:
    """Tells what is still waited for: a changing line on a terminal, a line a change in a pipe."""
    started, last = time.monotonic(), [set[str]()]

    def tell(missing: set[str]) -> None:
        seconds = time.monotonic() - started
        if sys.stderr.isatty():
            line = f"waiting for {', '.join(sorted(missing))} ({seconds:.0f} s)" if missing else ""
            click.echo(f"\r\033[K{line}", nl=False, err=True)
        for name in sorted(last[0] - missing):
            click.echo(f"{name} is healthy ({seconds:.0f} s)", err=True)
        last[0] = set(missing)

    return tell
