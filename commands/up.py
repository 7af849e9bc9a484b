"""`ratchet up`: the stack, healthy, with every champion serving."""

import functools
from collections.abc import Callable

import click

from commands._stack import progress, stack, start_host
from ratchet import recipe as recipes
from ratchet.errors import Refusal
from ratchet.fleet.gateway import Gateway
from ratchet.fleet.host import Host
from ratchet.fleet.stack import SERVERS, WORKERS, Stack
from ratchet.settings import settings
from ratchet.types import Split


@click.command("up")
def command() -> None:
    """Start everything on this machine and wait until it is healthy. It is harmless if everything runs.

    Prefect, MLflow, the workers, the controller, the agent and the gateway run under one supervisor. What an earlier
    crash left over is ended, deployments are created, and every champion serves again.
    """
    running = stack()
    with running.lock() as acquired:
        if not acquired:
            raise Refusal("another `ratchet up` or `down` is running", settings().home, "Wait for it")
        nothing_ran = not running.is_alive()
        try:
            _start(running)
        except BaseException:
            # A champion serves, or will in a moment, whatever else fails.
            if nothing_ran and not _released():
                click.echo("the start failed, so what it started is stopped again", err=True)
                for started in (*running.hosts(), running):
                    started.close()
            raise
    places = {
        "Prefect": settings().prefect_url,
        # Without the query MLflow's UI opens in its GenAI mode.
        "MLflow": f"{settings().mlflow_page}/#/experiments?workflowType=machine_learning",
        "Gateway": settings().gateway_url,
        "Home": str(settings().home),
    }
    for name, place in places.items():
        click.echo(f"{name:8} {place}")
    click.echo("Next: `ratchet loop RECIPE`, `ratchet status`, `ratchet down`")


def _start(running: Stack) -> None:
    from flows import deploy, runs

    checks = running.checks()
    running.open(lambda line: click.echo(line, err=True))
    running.start(SERVERS)
    report = progress()
    running.wait({"prefect": checks["prefect"]}, report)
    deploy.create_pools()
    runs.mark_dead_runs(lambda line: click.echo(line, err=True))
    running.start(WORKERS)
    for host in running.hosts():
        start_host(host)
    for line in deploy.deploy(settings()):
        click.echo(line, err=True)
    for name in recipes.names():
        if error := recipes.load_error(name):
            click.echo(error, err=True)
        for run in runs.waiting(name):
            click.echo(f"{name}: a run that waits starts by itself: {runs.url(run.id)}", err=True)
    since = {process.name: process.since for process in running.supervisor.list()}
    workers = {
        f"worker-{pool}": functools.partial(runs.workers_online, pool, since.get(f"worker-{pool}", 0.0))
        for pool in runs.POOLS
    }
    champions = {f"champion of {name}": _champion(name) for name in _released()}
    others = {name: check for name, check in checks.items() if name != "prefect"}
    running.wait({**others, **workers, **champions}, report)


def _released() -> list[str]:
    """The recipes with a champion."""
    from releases import api

    return [name for name in api.open_ledger().recipes() if api.state_of(name).champion]


def _champion(name: str) -> Callable[[], bool]:
    """Whether the gateway splits the recipe's traffic as the ledger says, among healthy revisions."""
    from releases import api, machine

    def serves() -> bool:
        state, in_force = api.state_of(name), Gateway(settings()).get_routes()
        assert state.champion
        split = in_force.splits.get(name, Split())
        healthy = all(in_force.healthy.get((name, revision)) for revision in split.weights)
        if split == machine.split(state) and healthy:
            return True
        if fault := Host(settings()).fault(name, state.champion.revision):
            raise Refusal(fault, f"the champion of {name}", "Correct that, and run `ratchet up` again")
        return False

    return serves
