"""`ratchet watch RECIPE`: the state of what serves, by labels, by the certainty of its answers, and by its inputs."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import click

from commands._stack import json_option
from expectations.triggers import Past
from ratchet.errors import Refusal
from ratchet.types import Level, Watched, from_json, to_json


@click.command("watch")
@click.argument("recipe")
@json_option
def command(recipe: str, as_json: bool) -> None:
    """Show the loss of the champion of RECIPE, promised, measured and estimated; what changed; and what retrained it.

    It is as of the last run of the deployment `collect`, every five minutes; `prefect deployment run collect/collect`
    runs it now.
    """
    from ratchet.lake import served
    from ratchet.recipe import load
    from releases import api, causes

    load(recipe)
    ledger = api.open_ledger()
    status = ledger.statuses("watch").get(recipe)
    if status is None:
        next = "Once a version serves, run `prefect deployment run collect/collect`"
        raise Refusal("nothing was collected yet", recipe, next)
    state, history = from_json(Watched, status.body), causes.read(ledger, recipe)
    performance = served.performance(recipe)
    labels = ledger.statuses("labels").get(recipe)
    unjoined = labels.body if labels else {}
    if as_json:
        body = {"at": status.at, "watched": status.body, "performance": performance, "unjoined_labels": unjoined}
        body["causes"] = [to_json(past) for past in history]
        click.echo(json.dumps(body, indent=1))
        return
    for line in (*_state(state, status.at), *_unjoined(unjoined), *_performance(performance, state), *_causes(history)):
        click.echo(line)


def _state(state: Watched, at: float) -> Iterator[str]:
    yield f"{state.recipe}, {state.revision}, as of {_time(at)}: {state.answered} predictions in the log"
    yield f"  loss promised   {state.promised:.4f}, limit {state.limit:.4f}"
    yield f"  loss measured   {_level(state.measured, 'no label for the newest predictions')}"
    yield f"  loss estimated  {_level(state.estimated, 'none')}"
    for remark in state.remarks:
        yield f"  {remark}"
    for finding in state.findings:
        colour = {"harmful": "red", "benign": "green"}.get(finding.effect, "yellow")
        effect = click.style(finding.effect, fg=colour)
        yield f"  {finding.tier}, {effect}: {finding.what}; since {_time(finding.since)}; {finding.sure}"
    if not state.findings:
        yield "  no findings"


def _unjoined(labels: Mapping[str, int]) -> Iterator[str]:
    """The labels for which there is no prediction: their request ids may be wrong."""
    if waiting := labels.get("waiting"):
        yield f"  {waiting} labels wait for a prediction that was not logged"
    if given_up := labels.get("given_up"):
        yield f"  {given_up} labels waited too long for a prediction, and are given up"


def _level(level: Level | None, none: str) -> str:
    if level is None:
        return none
    return f"{level.loss:.4f} (95 % from {level.low:.4f} to {level.high:.4f}) of the last {level.records}"


def _performance(rows: list[dict[str, Any]], state: Watched) -> Iterator[str]:
    """The measured loss by day and revision."""
    if rows:
        yield "\nloss by labels, by the day of the prediction"
    for row in rows:
        interval = f"95 % from {row['low']:.4f} to {row['high']:.4f}"
        yield f"  {row['day']}  {row['revision']:20} {row['loss']:.4f} ({interval}), {row['labels']} labels"


def _causes(history: list[Past]) -> Iterator[str]:
    """What called for a retraining, and what became of it."""
    if history:
        yield "\ncauses of a retraining"
    for past in history:
        ended = past.result or ("its run is not over" if past.run else "it waits for a run")
        run = f" (run {past.run})" if past.run else ""
        yield f"  {_time(past.at)}  {past.kind}: {past.why}: {ended}{run}"


def _time(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"
