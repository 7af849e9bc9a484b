"""`ratchet host`: more hosts of the pool, on this machine or on others."""

from __future__ import annotations

import functools
import ipaddress
import json
import re
import time

import click

from commands._stack import stack, start_host, waiting
from ratchet.errors import Refusal
from ratchet.fleet.stack import Health, Stack
from ratchet.settings import Settings, settings


@click.group("host")
def command() -> None:
    """Start, stop and list the hosts of the pool `gpu`: each has a queue and a supervisor of its own."""


_name = click.option("--name", required=True, help="The host's name, and its queue's: letters, digits, dots, dashes.")


def _host(name: str) -> Stack:
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,62}", name):
        raise Refusal("it is no name for a host", name, "Use small letters, digits, dots and dashes")
    if name == settings().host_name:
        raise Refusal("the host of the stack itself has this name", name, "Give another, or `ratchet up`")
    return Stack(settings().host(name))


def reachable(config: Settings) -> None:
    """Raises Refusal where gateway and host would not find one another, or not share what happened."""
    remote = [url for url in (config.prefect_at, config.mlflow_at) if url and "127.0.0.1" not in url]
    loopback = ipaddress.ip_address(config.address).is_loopback
    if remote and loopback:
        raise Refusal(
            "the gateway cannot reach a bento on loopback from another machine", f"RATCHET_ADDRESS={config.address}",
            "Set it to this machine's address",
        )  # fmt: skip
    if (remote or not loopback) and config.ledger.startswith("sqlite"):
        raise Refusal(
            "hosts on several machines need a ledger that all of them reach", "RATCHET_LEDGER_URL",
            "Set it to a Postgres database: postgresql+psycopg://USER@HOST/NAME",
        )  # fmt: skip


def _has_servers(running: Stack) -> None:
    """Raises Refusal where the host could not fetch what it is to serve. Prefect may be down: flows alone need it."""
    if not running.mlflow_answers():
        url = running.settings.mlflow_url
        raise Refusal("MLflow does not answer, so the host could serve nothing", url, "Run `ratchet up` there")


@command.command("start")
@_name
def start(name: str) -> None:
    """Start a host, with an agent and a Prefect worker; it serves every champion before it is told of."""
    from releases import requests

    stack()
    host = _host(name)
    if not (host.settings.home / "host.json").exists():  # its agent, which begins it anew, knows more than was given
        reachable(settings())
        _has_servers(stack())
    with host.lock() as alone:
        if not alone:
            raise Refusal("another command starts or stops it", name, "Wait for it")
        start_host(host)
        began = time.time()
        host.wait({f"agent of {name}": lambda: name in requests.hosts(), **_serves(name, began)}, waiting())
    click.echo(f"host {name} serves; its home is {host.settings.home}")


_LASTING = 12.0
"""Seconds after which a fault is no hiccup: an agent tries again every five."""


def _serves(name: str, began: float) -> dict[str, Health]:
    """A check for each champion: the host runs it, and it answered its golden set there."""
    from releases import requests

    book, since = requests.ledger(), dict[str, float]()

    def serves(recipe: str) -> bool:
        champion = requests.state_of(recipe, book).champion
        said = book.heard("host").get(name)
        if champion is None or said is None:
            return champion is None
        arms = [a for a in said.body["arms"] if (a["recipe"], a["arm"]) == (recipe, champion.arm)]
        fault = next((a["fault"] for a in arms if a["fault"]), "")
        since[recipe] = since.get(recipe, said.at) if fault else said.at
        if fault and said.at - since[recipe] > _LASTING:
            next_ = f"Mend that, or end the host: `ratchet host stop --name {name}`"
            raise Refusal(fault, f"the champion of {recipe} on host {name}", next_)
        return said.at > began and requests.serves(said, recipe, champion.arm)

    return {f"champion of {r} on {name}": functools.partial(serves, r) for r in book.recipes()}


@command.command("stop")
@_name
def stop(name: str) -> None:
    """Stop a host and everything on it; the gateway sends it nothing any more."""
    stack()
    host = _host(name)
    if not (host.settings.home / "host.json").exists():
        raise Refusal("there is no such host on this machine", name, "See `ratchet host list`")
    with host.lock() as alone:
        if not alone:
            raise Refusal("another command starts or stops it", name, "Wait for it")
        _leave(host)
        host.close()
        (host.settings.home / "host.json").unlink(missing_ok=True)
    click.echo(f"host {name} is stopped")


def _leave(host: Stack) -> None:
    """Waits a while for the gateway to send it nothing any more; a bento that ends turns new requests away."""
    from releases import requests

    host.supervisor.remove("agent")
    book, name = requests.ledger(), host.settings.host_name
    said = book.heard("host").get(name)
    book.forget(f"host:{name}")
    places = {(a["address"], a["port"]) for a in said.body["arms"]} if said else set()
    until = time.time() + 10
    while time.time() < until:
        known = [arms for told in book.heard("gateway").values() for arms in told.body["places"].values()]
        if not places & {(h, p) for ends in known for h, p in ends}:
            return
        time.sleep(0.2)


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="For a script.")
def list_(as_json: bool) -> None:
    """List the hosts that were heard of, and what each runs."""
    from releases import requests

    stack()
    living = requests.hosts()
    heard = requests.ledger().heard("host")
    if as_json:
        click.echo(json.dumps({n: {"alive": n in living, "at": s.at, **s.body} for n, s in heard.items()}, indent=1))
        return
    for name, said in sorted(heard.items()):
        arms = ", ".join(f"{a['recipe']} {a['arm']} ({a['state']})" for a in said.body["arms"]) or "no bento"
        mark = "alive" if name in living else f"last heard of {time.time() - said.at:.0f} s ago"
        click.echo(f"{name:20} {mark}: {arms}")
    if not heard:
        click.echo("no host was heard of; `ratchet up` starts one")
