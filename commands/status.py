"""`ratchet status`: what serves, and whether everything lives."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import click

from commands._stack import stack
from ratchet.errors import Refusal
from ratchet.fleet.gateway import Gateway, InForce, cluster
from ratchet.fleet.host import Host
from ratchet.settings import settings


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="For a script.")
def command(as_json: bool) -> None:
    """Show each recipe's champion, endpoints, traffic and last run, and each process's state."""
    found = look()
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    for process in found["processes"]:
        mark = {"running": "green", "starting": "yellow"}.get(process["state"], "red")
        click.echo(f"{process['name']:32} {click.style(process['state'], fg=mark)}")
    if not found["processes"]:
        alive = any(e["ready"] for recipe in found["recipes"].values() for e in recipe["endpoints"])
        click.echo("nothing is supervised, and bentos answer; `ratchet up` adopts them" if alive
                   else "nothing is running; `ratchet up` starts it")  # fmt: skip
    for name, recipe in found["recipes"].items():
        click.echo(f"\n{click.style(name, bold=True)}: {_champion(recipe)}")
        for key in ("bento", "digest", "phase", "traffic", "endpoints", "last_run", "last_snapshot", "notes"):
            if recipe[key]:
                click.echo(f"  {key.replace('_', ' '):14} {_text(recipe[key])}")


def look() -> dict[str, Any]:
    """Everything that `status` tells, as plain data."""
    from ratchet import recipe as recipes
    from releases import requests

    running = stack()
    arms = Host(settings()).arms()
    # With nothing of this home alive, what answers at the gateway's port is another's.
    ours = running.supervisor.pid() is not None or bool(arms)
    gateway = Gateway(settings()).get_routes() if ours else InForce(alive=False)
    book = requests.ledger()
    names = sorted({*recipes.names(), *book.recipes()})
    return {
        "home": str(settings().home),
        "processes": [{"name": p.name, "state": p.state, "pid": p.pid} for p in running.supervisor.list()],
        "gateway": {"alive": gateway.alive, "url": settings().gateway_url},
        "recipes": {name: _recipe(name, [a for a in arms if a.recipe == name], gateway, running) for name in names},
    }


def _recipe(name: str, arms: list[Any], gateway: Any, running: Any) -> dict[str, Any]:
    from flows import runs
    from ratchet.lake import snapshot
    from ratchet.recipe import load
    from releases import requests

    state, _ = requests.state_of(name)
    champion = state.champion
    try:
        last = runs.last(name) if running.checks()["prefect"]() else None
        taken = snapshot.take(load(name))
    except Refusal:
        taken = None
    return {
        "champion": champion.version if champion else None,
        "bento": champion.tag if champion else None,
        "digest": champion.digest if champion else None,
        "phase": state.phase,
        "traffic": dict(gateway.routes[name].weights) if name in gateway.routes else {},
        "endpoints": [
            {
                "version": a.version,
                "at": f"{a.address}:{a.port}",
                "state": a.state,
                "ready": a.ready,
                "in_gateway": gateway.healthy.get(cluster(name, a.version), 0) > 0,
            }
            for a in arms
        ],
        "last_run": dataclasses.asdict(last) if last else None,
        "last_snapshot": {"fingerprint": taken.fingerprint, "records": taken.records, "version": taken.version}
        if taken
        else None,
        "notes": _notes(name, state, running),
    }


def _notes(name: str, state: Any, running: Any) -> list[str]:
    """What a person should know: aliases that a hand moved, a release that failed."""
    from models import registry

    notes = []
    if state.outcomes:
        notes.append("MLflow has yet to be told the newest outcome")
    elif state.champion and running.checks()["mlflow"]():
        alias = registry.alias(name, "champion")
        stays = f"the fleet stays at {state.champion.version}"
        if alias is None:
            notes.append(f"@champion is gone from MLflow, or its version is; {stays}")
        elif alias != state.champion.version:
            notes.append(f"@champion in MLflow was moved by hand to {alias}; {stays}")
    return notes


def _champion(recipe: dict[str, Any]) -> str:
    return f"version {recipe['champion']} is champion" if recipe["champion"] else "nothing released yet"


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "; ".join(_text(v) for v in value)
    if isinstance(value, dict):
        return ", ".join(f"{k} {_text(v)}" for k, v in value.items() if v != "")
    return str(value)
