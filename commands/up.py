"""`ratchet up`: the stack, healthy, with every champion serving."""

from __future__ import annotations

import functools
from collections.abc import Callable

import click

from commands._stack import stack, start_host, waiting
from ratchet import recipe as recipes
from ratchet.errors import Refusal
from ratchet.fleet.gateway import Gateway
from ratchet.fleet.host import Host
from ratchet.fleet.stack import SERVERS, WORKERS
from ratchet.settings import settings
from ratchet.words import Split


@click.command("up")
def command() -> None:
    """Start everything on this machine and wait until it is healthy; harmless when it is.

    Prefect, MLflow, the workers, the controller and the gateway run under one supervisor. What an
    earlier crash left behind is ended, deployments are made, and every champion serves again.
    """
    from flows import deploy, runs
    from releases import requests

    running = stack()
    checks = running.checks()
    with running.lock() as alone:
        if not alone:
            raise Refusal("another `ratchet up` or `down` is at work", settings().home, "Wait for it")
        running.open(lambda line: click.echo(line, err=True))
        running.start(SERVERS)
        tell = waiting()
        running.wait({"prefect": checks["prefect"]}, tell)
        deploy.make_pools()
        for name in runs.crash_zombies(settings()):
            click.echo(f"flow run {name} said that it ran, and nobody ran it: marked as crashed", err=True)
        running.start(WORKERS)
        for host in running.hosts():
            start_host(host)
        if deploy.deploy(settings()):
            click.echo("deployments are made", err=True)
        for name in recipes.names():
            if why := recipes.unread(name):
                click.echo(why, err=True)
        since = {p.name: p.since for p in running.supervisor.list()}
        listening = {
            f"worker-{pool}": functools.partial(runs.workers_online, pool, since.get(f"worker-{pool}", 0.0))
            for pool in deploy.POOLS
        }
        serving = {f"champion of {name}": _champion(name) for name in requests.ledger().recipes()}
        others = {name: check for name, check in checks.items() if name != "prefect"}
        running.wait({**others, **listening, **serving}, tell)
    places = {
        "Prefect": settings().prefect_url,
        # Without the query MLflow's UI opens in its GenAI mode.
        "MLflow": f"{settings().mlflow_url}/#/experiments?workflowType=machine_learning",
        "Gateway": settings().gateway_url,
        "Home": str(settings().home),
    }
    for name, place in places.items():
        click.echo(f"{name:8} {place}")
    click.echo("Next: `ratchet loop fashion-mnist`, `ratchet status`, `ratchet down`")


def _champion(name: str) -> Callable[[], bool]:
    """Whether the gateway splits the recipe's traffic as the ledger says, among arms that are healthy."""
    from releases import machine, requests

    def serves() -> bool:
        state, now = requests.state_of(name), Gateway(settings()).get_routes()
        if state.champion is None:
            return True
        split = now.splits.get(name, Split())
        if split == machine.split(state) and all(now.healthy.get((name, arm)) for arm in split.weights):
            return True
        if fault := Host(settings()).fault(name, state.champion.arm):
            raise Refusal(fault, f"the champion of {name}", "Mend that, and run `ratchet up` again")
        return False

    return serves
