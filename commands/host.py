"""`ratchet host`: more hosts for the pool, on this machine or on others."""

import functools
import ipaddress
import json
import re
import time

import click

from commands._stack import json_option, progress, stack, start_host
from ratchet.errors import Refusal
from ratchet.fleet.stack import Health, Stack
from ratchet.settings import Settings, settings


@click.group("host")
def command() -> None:
    """Start, stop and list the hosts of the pool `gpu`. Each has a queue and a supervisor of its own."""


_name = click.option("--name", required=True, help="Name of host and queue: lower-case letters, digits, dots, -.")


def _host(name: str) -> Stack:
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,62}", name):
        what = "a host's name consists of lower-case letters, digits, dots and hyphens"
        raise Refusal(what, name, "Choose another")
    if name == settings().host_name:
        raise Refusal("the stack's own host has this name", name, "Choose another, or run `ratchet up`")
    return Stack(settings().host(name))


def require_reachable(config: Settings) -> None:
    """Raises Refusal if gateway and host could not reach one another, or would not share the ledger."""
    remote = [url for url in (config.prefect_at, config.mlflow_at) if url and "127.0.0.1" not in url]
    loopback = ipaddress.ip_address(config.address).is_loopback
    if remote and loopback:
        what = "the gateway on another machine cannot reach a bento on loopback"
        raise Refusal(what, f"RATCHET_ADDRESS={config.address}", "Set it to this machine's address")
    if (remote or not loopback) and config.ledger.startswith("sqlite"):
        what = "hosts on several machines need a ledger that all of them can reach"
        next = "Set it to a Postgres database: postgresql+psycopg://USER@HOST/NAME"
        raise Refusal(what, "RATCHET_LEDGER_URL", next)


def _require_mlflow(running: Stack) -> None:
    """Raises Refusal if the host could not fetch packages. Prefect may be down: only flows need it."""
    if not running.mlflow_answers():
        what = "MLflow does not answer, so the host could not serve"
        raise Refusal(what, running.settings.mlflow_url, "Run `ratchet up` there")


@command.command("start")
@_name
def start(name: str) -> None:
    """Start a host with an agent and a Prefect worker; it returns when the host serves every champion."""
    from releases import api

    stack()
    host = _host(name)
    if not (host.settings.home / "host.json").exists():  # its agent restarts it with settings of its own
        require_reachable(settings())
        _require_mlflow(stack())
    with host.lock() as acquired:
        if not acquired:
            raise Refusal("another command is starting or stopping it", name, "Wait for it")
        start_host(host)
        started = time.time()
        checks = {f"agent of {name}": lambda: name in api.living_hosts(), **_champion_checks(name, started)}
        host.wait(checks, progress())
    click.echo(f"host {name} serves; its home is {host.settings.home}")


_LASTING_SECONDS = 12.0
"""Time after which a fault is permanent: an agent tries again every five seconds."""


def _champion_checks(name: str, started: float) -> dict[str, Health]:
    """A check for each champion: the host runs it, and it answered its golden set there."""
    from releases import api

    ledger, fault_since = api.open_ledger(), dict[str, float]()
    released = [recipe for recipe in ledger.recipes() if api.state_of(recipe, ledger).champion]

    def serves(recipe: str) -> bool:
        champion = api.state_of(recipe, ledger).champion
        status = ledger.statuses("host").get(name)
        if champion is None or status is None:
            return champion is None
        endpoints = api.endpoints(status, recipe, champion.revision)
        fault = next((endpoint.fault for endpoint in endpoints if endpoint.fault), "")
        fault_since[recipe] = fault_since.get(recipe, status.at) if fault else status.at
        if fault and status.at - fault_since[recipe] > _LASTING_SECONDS:
            which = f"the champion of {recipe} on host {name}"
            raise Refusal(fault, which, f"Correct that, or stop the host: `ratchet host stop --name {name}`")
        return status.at > started and api.serves(status, recipe, champion.revision)

    return {f"champion of {recipe} on {name}": functools.partial(serves, recipe) for recipe in released}


@command.command("stop")
@_name
def stop(name: str) -> None:
    """Stop a host and everything on it, after the gateway has stopped sending it requests."""
    stack()
    host = _host(name)
    if not (host.settings.home / "host.json").exists():
        raise Refusal("there is no such host on this machine", name, "See `ratchet host list`")
    with host.lock() as acquired:
        if not acquired:
            raise Refusal("another command is starting or stopping it", name, "Wait for it")
        _leave_gateway(host)
        host.close()
        (host.settings.home / "host.json").unlink(missing_ok=True)
    click.echo(f"host {name} is stopped")


def _leave_gateway(host: Stack) -> None:
    """Waits until the gateway sends it no requests; a bento that is stopping refuses new ones."""
    from releases import api

    host.supervisor.remove("agent")
    ledger, name = api.open_ledger(), host.settings.host_name
    status = ledger.statuses("host").get(name)
    ledger.unpublish(f"host:{name}")
    own = {(e["address"], e["port"]) for e in status.body["endpoints"]} if status else set()
    until = time.time() + 10
    while time.time() < until:
        revisions = [ends for each in ledger.statuses("gateway").values() for ends in each.body["addresses"].values()]
        if not own & {(host_, port) for ends in revisions for host_, port in ends}:
            return
        time.sleep(0.2)


@command.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the hosts that have reported, and what each runs."""
    from releases import api

    stack()
    living, statuses = api.living_hosts(), api.open_ledger().statuses("host")
    if as_json:
        hosts = {name: {"alive": name in living, "at": s.at, **s.body} for name, s in statuses.items()}
        click.echo(json.dumps(hosts, indent=1))
        return
    for name, status in sorted(statuses.items()):
        runs = [f"{e['recipe']} {e['revision']} ({e['state']})" for e in status.body["endpoints"]]
        state = "alive" if name in living else f"last reported {time.time() - status.at:.0f} s ago"
        click.echo(f"{name:20} {state}: {', '.join(runs) or 'no bento'}")
    if not statuses:
        click.echo("no host has reported; `ratchet up` starts one")
