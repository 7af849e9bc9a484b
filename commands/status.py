"""`ratchet status`: what serves, and whether everything lives."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import click

from commands._stack import stack
from ratchet import recipe as recipes
from ratchet.errors import Refusal
from ratchet.fleet.gateway import Gateway, InForce
from ratchet.fleet.host import Host
from ratchet.fleet.stack import Stack
from ratchet.settings import settings
from ratchet.words import Arm, Split, from_json
from releases import observe
from releases.state import State


@click.command("status")
@click.option("--watch", is_flag=True, help="Go on showing it, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="For a script.")
def command(watch: bool, as_json: bool) -> None:
    """Show each recipe's champion, endpoints, traffic, release and last run, and each process's state."""
    if as_json:
        click.echo(json.dumps(look(), indent=1))
        return
    while True:
        told = "\n".join(_lines(look()))
        if watch and sys.stdout.isatty():
            click.clear()
        click.echo(told)
        if not watch:
            return
        time.sleep(1)


def _lines(found: dict[str, Any]) -> Iterator[str]:
    for process in found["processes"]:
        mark = {"running": "green", "starting": "yellow"}.get(process["state"], "red")
        yield f"{process['name']:42} {click.style(process['state'], fg=mark)}"
    if not found["processes"]:
        alive = any(e["ready"] for recipe in found["recipes"].values() for e in recipe["endpoints"])
        yield ("nothing is supervised, and bentos answer; `ratchet up` adopts them" if alive
               else "nothing is running; `ratchet up` starts it")  # fmt: skip
    for name, recipe in found["recipes"].items():
        yield f"\n{click.style(name, bold=True)}: {_champion(recipe)}"
        for key in ("bento", "digest", "phase", "why", "traffic", "mirrored", "last_run", "last_snapshot", "notes"):
            if recipe[key]:
                yield f"  {key.replace('_', ' '):14} {_short(_text(recipe[key]))}"
        for e in recipe["endpoints"]:
            gateway = "in the gateway" if e["in_gateway"] else "not in the gateway"
            told = ", ".join(
                filter(None, (e["state"], "ready" if e["ready"] else "not ready", gateway, e.get("fault")))
            )
            yield f"  {e['host']:14} {e['arm']} at {e['at']}: {told}"
        for check in recipe["evidence"]:
            yield f"  {check['name']:22} {_check(check)}"


_COLOURS = {"pass": "green", "fail": "red", "error": "red", "inconclusive": "yellow"}


def _check(check: dict[str, Any]) -> str:
    """A check's figure with its interval, the bound that it must not be shown to be over, and how it stands."""
    outcome = click.style(check["outcome"], fg=_COLOURS.get(check["outcome"]))
    if check["figure"] is None or check["outcome"] == "not asked":
        return f"{outcome}: {check['detail']}"
    interval = f"{check['figure']:.2%} ({check['low']:.2%} to {check['high']:.2%}), bound {check['threshold']:.2%}"
    return f"{outcome}: {interval}; {check['detail']}"


def look() -> dict[str, Any]:
    """Everything that `status` tells, as plain data."""
    from ratchet import recipe as recipes
    from releases import requests

    running = stack()
    local, book = Host(settings()).arms(), requests.ledger()
    # With nothing of this home alive, what answers at the gateway's port is another's.
    ours = running.supervisor.pid() is not None or bool(local)
    gateway = Gateway(settings()).get_routes() if ours else InForce(alive=False)
    names = sorted({*recipes.names(), *book.recipes()})
    living, heard = requests.hosts(book), book.heard("host")
    arms = [from_json(Arm, a) for name in living for a in heard[name].body["arms"]] or local
    releases = {name: said.body for name, said in book.heard("gateway").items()}
    return {
        "home": str(settings().home),
        "processes": [{"name": p.name, "state": p.state, "pid": p.pid} for p in running.supervisor.list()],
        "gateway": {"alive": gateway.alive, "url": settings().gateway_url},
        "hosts": list(living),
        "recipes": {
            name: _recipe(name, [a for a in arms if a.recipe == name], gateway, running, releases.get(name, {}))
            for name in names
        },
    }


def _recipe(name: str, arms: list[Arm], gateway: InForce, running: Stack, release: Mapping[str, Any]) -> dict[str, Any]:
    from flows import runs
    from ratchet.lake import snapshot
    from ratchet.recipe import load
    from releases import requests

    state = requests.state_of(name)
    champion, challenger, split = state.champion, state.challenger, gateway.splits.get(name, Split())
    try:
        last = runs.last(name) if running.checks()["prefect"]() else None
        taken = snapshot.take(load(name))
    except Refusal:
        last = taken = None
    return {
        "champion": champion.version if champion else None,
        "challenger": challenger.version if challenger else None,
        "bento": champion.tag if champion else None,
        "digest": champion.digest if champion else None,
        "phase": state.phase,
        "step": observe.named(state.trial) if state.phase == "trial" else None,
        "paused": state.paused,
        "frozen": state.frozen,
        "why": state.why if state.phase != "idle" else None,
        "traffic": dict(split.weights),
        "mirrored": {split.mirror: split.percent} if split.mirror else {},
        "evidence": release.get("checks", []),
        "endpoints": [
            {
                "arm": a.arm,
                "host": a.host,
                "at": f"{a.address}:{a.port}",
                "state": a.state,
                "ready": a.ready,
                "in_gateway": a.place in gateway.healthy.get((name, a.arm), ()),
                **({"fault": a.fault} if a.fault else {}),
            }
            for a in arms
        ],
        "last_run": dataclasses.asdict(last) if last else None,
        "last_snapshot": {"fingerprint": taken.fingerprint, "records": taken.records, "version": taken.version}
        if taken
        else None,
        "notes": _notes(name, state, running),
    }


def _notes(name: str, state: State, running: Stack) -> list[str]:
    """What a person should know: a hand that moved an alias, releases that are frozen or halted."""
    from models import registry
    from releases import requests

    notes = [f"releases are frozen: {state.frozen}"] if state.frozen else []
    if unread := recipes.unread(name):  # it may be gone and still serve
        notes.append(unread)
    if state.phase == "halted":
        notes.append(f"halted, {state.why}; decide: `ratchet release promote {name}` or `ratchet release abort {name}`")
    if state.outcomes:
        notes.append("MLflow has yet to be told the newest outcome")
    elif state.champion and running.checks()["mlflow"]():
        alias = registry.alias(name, "champion")
        stays = f"the fleet stays at {state.champion.version}"
        moved = requests.ledger().heard("alias").get(name)
        if alias is None:
            notes.append(f"@champion is gone from MLflow, or its version is; {stays} until another is released")
        elif alias != state.champion.version and moved and moved.body["why_not"]:
            notes.append(f"@champion in MLflow was moved by hand to {alias}; {stays}: {moved.body['why_not']}")
    return notes


def _champion(recipe: dict[str, Any]) -> str:
    told = f"version {recipe['champion']} is champion" if recipe["champion"] else "nothing released yet"
    if recipe["challenger"]:
        told += f"; version {recipe['challenger']} is {recipe['phase']}"
    at = f" at {recipe['step']}" if recipe["step"] else ""
    return f"{told}{at}{', paused' if recipe['paused'] else ''}"


def _short(text: str, most: int = 240) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "; ".join(_text(v) for v in value)
    if isinstance(value, dict):
        return ", ".join(f"{k} {_text(v)}" for k, v in value.items() if v != "")
    return str(value)
