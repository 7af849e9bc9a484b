"""`ratchet status`: what serves, and whether every process is healthy."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from commands._stack import json_option, stack
from ratchet import recipe as recipes
from ratchet.errors import Refusal
from ratchet.fleet.gateway import Gateway, InForce
from ratchet.fleet.host import Host
from ratchet.fleet.stack import Stack
from ratchet.fleet.supervisor import Process
from ratchet.settings import settings, without_password
from ratchet.types import Endpoint, Split, from_json
from releases.state import State

if TYPE_CHECKING:
    from flows.runs import Run


@click.command("status")
@click.option("--watch", is_flag=True, help="Repeat until Ctrl-C.")
@json_option
def command(watch: bool, as_json: bool) -> None:
    """Show each recipe's champion, endpoints, traffic, release and last run, and the state of each process."""
    if as_json:
        click.echo(json.dumps(collect(), indent=1))
        return
    while True:
        text = "\n".join(_lines(collect()))
        if watch and sys.stdout.isatty():
            click.clear()
        click.echo(text)
        if not watch:
            return
        time.sleep(1)


def _lines(status: dict[str, Any]) -> Iterator[str]:
    for process in status["processes"]:
        colour = {"running": "green", "starting": "yellow"}.get(process["state"], "red")
        answers = "" if process["answers"] is not False else click.style(f", {process['fault']}", fg="red")
        yield f"{process['name']:42} {click.style(process['state'], fg=colour)}{answers}"
    if not status["processes"]:
        ready = any(endpoint["ready"] for recipe in status["recipes"].values() for endpoint in recipe["endpoints"])
        alive = "no supervisor is running, and bentos still answer; `ratchet up` adopts them"
        yield alive if ready else "nothing is running; `ratchet up` starts it"
    yield from status["notes"]
    for name, recipe in status["recipes"].items():
        yield f"\n{click.style(name, bold=True)}: {_headline(recipe)}"
        shown = {**recipe, "last_run": _run(recipe["last_run"]), "last_snapshot": _snapshot(recipe["last_snapshot"])}
        shown["watched"] = _watched(recipe["watched"])
        for key in ("bento", "digest", "phase", "why", "traffic", "watched", "last_run", "last_snapshot", "notes"):
            if shown[key] and (key, shown[key]) != ("phase", "idle"):
                yield f"  {key.replace('_', ' '):14} {_short(_text(shown[key]))}"
        for endpoint in recipe["endpoints"]:
            yield f"  {endpoint['host']:14} {_endpoint(endpoint)}"
        for check in recipe["evidence"]:
            yield f"  {check['name']:24} {_check(check)}"


def _endpoint(endpoint: dict[str, Any]) -> str:
    ready = "ready" if endpoint["ready"] else "not ready"
    gateway = "in the gateway" if endpoint["in_gateway"] else "not in the gateway"
    state = ", ".join(filter(None, (endpoint["state"], ready, gateway, endpoint["fault"])))
    return f"{endpoint['revision']} at {endpoint['at']}: {state}"


def _watched(watched: Mapping[str, Any] | None) -> str:
    """Whether the champion is harmed, and its loss by labels, or by the certainty of its answers."""
    if watched is None:
        return ""
    effects = {finding["effect"] for finding in watched["findings"]}
    worst = next((effect for effect in ("harmful", "unknown", "benign") if effect in effects), "")
    what = next((finding["what"] for finding in watched["findings"] if finding["effect"] == worst), "no harm")
    for tier in ("measured", "estimated"):
        if level := watched[tier]:
            loss = f"loss {level['loss']:.4f} {tier} of {level['records']}, promised {watched['promised']:.4f}"
            break
    else:
        loss = f"{watched['answered']} predictions, no label"
    colour = {"harmful": "red", "unknown": "yellow"}.get(worst)
    lost = f"; {watched['lost']} predictions were not logged" if watched["lost"] else ""
    return f"{click.style(f'{worst}: {what}' if worst else what, fg=colour)}; {loss}{lost}; see `ratchet watch`"


def _run(run: Mapping[str, Any] | None) -> str:
    if not run:
        return ""
    message = "it waits for `ratchet approve`" if run["state"] == "paused" else run["message"]
    return f"{run['state']}, started {run['started'][:16]} UTC: {message}"


def _snapshot(snapshot: Mapping[str, Any] | None) -> str:
    return f"{snapshot['fingerprint'][:12]}, {snapshot['records']} records" if snapshot else ""


_COLOURS = {"passed": "green", "failed": "red", "error": "red", "inconclusive": "yellow"}


def _check(check: dict[str, Any]) -> str:
    """A check's outcome, its value with the interval, and its threshold."""
    outcome = click.style(check["outcome"], fg=_COLOURS.get(check["outcome"]))
    if check["value"] is None or check["outcome"] == "skipped":
        return f"{outcome}: {check['detail']}"
    interval = f"{check['value']:.2%} ({check['low']:.2%} to {check['high']:.2%})"
    return f"{outcome}: {interval}, threshold {check['threshold']:.2%}; {check['detail']}"


def collect() -> dict[str, Any]:
    """Everything that `status` shows, as plain data."""
    from releases import api

    running = stack()
    local, ledger, processes = Host(settings()).endpoints(), api.open_ledger(), running.supervisor.list()
    names, checks = {process.name for process in processes}, running.checks()
    elsewhere = {"prefect": settings().prefect_at, "mlflow": settings().mlflow_at}
    answers = {name: check() for name, check in checks.items() if name in names or elsewhere.get(name)}
    # If nothing of this home lives, whatever answers at the gateway's port belongs to another home.
    own = running.supervisor.pid() is not None or bool(local)
    gateway = Gateway(settings()).get_routes() if own else InForce(alive=False)
    living, hosts = api.living_hosts(ledger), ledger.statuses("host")
    reported = [from_json(Endpoint, endpoint) for name in living for endpoint in hosts[name].body["endpoints"]]
    controller = {name: status.body for name, status in ledger.statuses("gateway").items()}
    endpoints = reported or local
    return {
        "home": str(settings().home),
        "processes": [_process(process, running, answers) for process in processes],
        "gateway": {"alive": gateway.alive, "url": settings().gateway_url},
        "hosts": list(living),
        "notes": [*_elsewhere(answers, names), *_obstacles(answers)],
        "recipes": {
            name: _recipe(name, [e for e in endpoints if e.recipe == name], gateway, answers, controller.get(name, {}))
            for name in sorted({*recipes.names(), *ledger.recipes()})
        },
    }


_SLOW_START = 60.0
"""Seconds in which a server may start."""
_LOST = {
    "prefect": "no run starts until it does; what serves is not affected",
    "mlflow": "runs fail and aliases wait until it does; what serves is not affected",
    "envoy": "callers get no answer until it does",
    "controller": "releases stand still until it does",
    "agent": "no bento is started on this host until it does",
}


def _elsewhere(answers: Mapping[str, bool], here: Collection[str]) -> list[str]:
    """A sentence for each server on another machine that does not answer."""
    urls = {"prefect": settings().prefect_url, "mlflow": settings().mlflow_url}
    lost = (name for name, answer in answers.items() if not answer and name not in here)
    return [f"{name} at {without_password(urls[name])} does not answer: {_LOST[name]}" for name in lost]


def _obstacles(answers: Mapping[str, bool]) -> list[str]:
    from flows import obstacles

    try:
        return obstacles.obstacles() if answers.get("prefect") else []
    except Refusal as refusal:  # it answered a moment ago; the rest is shown all the same
        return [str(refusal)]


def _process(process: Process, running: Stack, answers: Mapping[str, bool]) -> dict[str, Any]:
    """A process, whether it answers (None if nothing is known), and what to do if it does not."""
    answer, fault = answers.get(process.name), ""
    if answer is False:
        young = time.time() - process.since < _SLOW_START
        # Of one that starts again and again; an old log says nothing of one that hangs.
        error = running.supervisor.last_error(process.name) if young else ""
        why, yet = f" (its log: {error})" if error else "", " yet" if young else ""
        fault = f"but does not answer{yet}{why}: {_LOST[process.name]}; see `ratchet logs {process.name}`"
    return {"name": process.name, "state": process.state, "pid": process.pid, "answers": answer, "fault": fault}


def _recipe(
    name: str, endpoints: list[Endpoint], gateway: InForce, answers: Mapping[str, bool], controller: Mapping[str, Any]
) -> dict[str, Any]:
    from ratchet.lake import snapshot
    from releases import api

    state = api.state_of(name)
    champion, challenger, split = state.champion, state.challenger, gateway.splits.get(name, Split())
    last, queued = _runs(name) if answers.get("prefect") else (None, [])
    try:
        data = snapshot.take(recipes.load(name))
    except Refusal:
        data = None
    return {
        "champion": champion.version if champion else None,
        "challenger": challenger.version if challenger else None,
        "bento": champion.tag if champion else None,
        "digest": champion.digest if champion else None,
        "phase": state.phase,
        "step": str(state.trial) if state.phase == "trial" else None,
        "paused": state.paused,
        "frozen": state.frozen,
        "why": state.why if state.phase != "idle" else None,
        "traffic": str(split) if split.weights else "",
        "shares": dict(split.weights),
        "mirrored": {split.mirror: split.mirror_percent} if split.mirror else {},
        "evidence": controller.get("checks", []),
        "endpoints": [
            {
                "revision": endpoint.revision,
                "host": endpoint.host,
                "at": f"{endpoint.address}:{endpoint.port}",
                "state": endpoint.state,
                "ready": endpoint.ready,
                "in_gateway": endpoint.host_port in gateway.healthy.get((name, endpoint.revision), ()),
                "fault": endpoint.fault,
            }
            for endpoint in endpoints
        ],
        "watched": _watch_of(name, champion.revision if champion else ""),
        "last_run": dataclasses.asdict(last) if last else None,
        "last_snapshot": {"fingerprint": data.fingerprint, "records": data.records, "version": data.version}
        if data
        else None,
        "notes": [*_notes(name, state, answers), *queued],
    }


def _runs(name: str) -> tuple[Run | None, list[str]]:
    """The newest run of a recipe's loop, and a sentence for each that waits."""
    from flows import runs

    try:
        queued = [f"a run waits for another one: {runs.url(run.id)}" for run in runs.waiting(name)]
        return runs.last(name), queued
    except Refusal:  # it answered a moment ago
        return None, []


def _watch_of(name: str, revision: str) -> dict[str, Any] | None:
    """What the last `collect` has found about the revision that serves; None before it has looked at that one."""
    from ratchet.lake import predictions
    from releases import api

    status = api.open_ledger().statuses("watch").get(name)
    if status is None or status.body["revision"] != revision:
        return None
    living = [each.body["lost"] for key, each in api.open_ledger().statuses("lost").items() if key.split()[0] == name]
    return {**status.body, "at": status.at, "lost": predictions.count_lost(name) + sum(living)}


def _notes(name: str, state: State, answers: Mapping[str, bool]) -> list[str]:
    """What a person should know: an alias that was moved by hand, releases that are frozen or halted."""
    notes = [f"releases are frozen: {state.frozen}"] if state.frozen else []
    if error := recipes.load_error(name):  # a recipe that is gone may still serve
        notes.append(error)
    files = recipes.files(name)
    notes += [f"{path} is not read, since {files[0]} has the same name: rename one" for path in files[1:]]
    if state.phase == "halted":
        notes.append(f"halted, {state.why}; decide: `ratchet release promote {name}` or `ratchet release abort {name}`")
    if state.outcomes:
        notes.append("the newest outcome is not in MLflow yet")
    elif state.champion and answers.get("mlflow"):
        try:
            notes += _notes_of_mlflow(name, state)
        except Refusal as refusal:  # it answered a moment ago
            notes.append(str(refusal))
    return notes


def _notes_of_mlflow(name: str, state: State) -> list[str]:
    from models import registry
    from releases import api

    assert state.champion
    notes = []
    alias = registry.alias(name, "champion")
    fleet = f"the fleet stays at version {state.champion.version}"
    moved = api.open_ledger().statuses("alias").get(name)
    if alias is None:
        notes.append(
            f"@champion, or its version, is gone from MLflow; {fleet}, and the next release writes the alias again "
            f"(`ratchet loop {name}`, which trains once more if the version is gone)"
        )
    elif not registry.has(state.champion.artifact):
        version = f"the package of version {state.champion.version}"
        notes.append(f"MLflow no longer has {version}: hosts serve their copies, and a version of new data replaces it")
    elif alias != state.champion.version and moved and moved.body["why_not"]:
        notes.append(f"@champion in MLflow was moved by hand to version {alias}; {fleet}: {moved.body['why_not']}")
    if deleted := registry.deleted_experiment(name):
        what = "its experiment was deleted in MLflow, so the next training is refused"
        notes.append(f"{what}; restore it: {registry.restoring(deleted)}")
    return notes


def _headline(recipe: dict[str, Any]) -> str:
    text = f"version {recipe['champion']} is champion" if recipe["champion"] else "nothing released yet"
    if recipe["challenger"]:
        step = f" at {recipe['step']}" if recipe["step"] else ""
        text += f"; version {recipe['challenger']} is {_PHASES[recipe['phase']]}{step}"
    return f"{text}, paused" if recipe["paused"] else text


_PHASES = {"warming": "warming", "trial": "on trial", "shifting": "getting the traffic", "halted": "halted"}


def _short(text: str, most: int = 240) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _text(value: Any) -> str:
    return "; ".join(map(str, value)) if isinstance(value, list) else str(value)
