"""`ratchet history RECIPE`: what happened, from the ledger."""

import dataclasses
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click

from commands._stack import json_option
from ratchet.types import Split, from_json
from releases.history import Share
from releases.ledger import Entry

_TIME_FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"]


@click.command("history")
@click.argument("recipe")
@click.option("--shares", is_flag=True, help="Show which revision had which share of the traffic, and when.")
@click.option("--at", type=click.DateTime(_TIME_FORMATS), help="Show the shares at this moment (UTC).")
@json_option
def command(recipe: str, shares: bool, at: datetime | None, as_json: bool) -> None:
    """Print the ledger of RECIPE: every request, step, promotion and failure, with who and why."""
    from ratchet.recipe import source
    from releases import api, history

    entries = api.open_ledger().read(recipe)
    if not entries:
        source(recipe)
    rows: Sequence[Entry | Share] = history.shares(entries) if shares else entries
    if at is not None:
        share = history.at(history.shares(entries), at.replace(tzinfo=UTC).timestamp())
        rows = [share] if share else []
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(row) for row in rows], indent=1))
        return
    for row in rows:
        click.echo(_share(row) if isinstance(row, history.Share) else _entry(row))
    if not rows:
        click.echo("nothing has happened yet" if at is None else "nothing served at that time")


def _entry(entry: Entry) -> str:
    return f"{entry.seq:4}  {_time(entry.at)}  {entry.kind:10} {entry.who}: {_detail(entry.kind, entry.body)}"


def _share(share: Share) -> str:
    return f"{_time(share.at)}  {share.split}  ({share.who}, {share.kind}: {share.why})"


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _detail(kind: str, body: Any) -> str:
    match kind:
        case "requested":
            what = "rollback to" if body["kind"] == "rollback" else "release of"
            return f"{what} version {body['package']['version']}: {body['why']}, on {', '.join(body['hosts'])}"
        case "healthy":
            return f"answers its golden set on {', '.join(body['hosts'])}"
        case "passed":
            return f"step {body['step'] + 1}: {_checks(body['checks'])}"
        case "failed" | "halted":
            checks = _checks(body["checks"])
            return f"{body['why']}: {checks}" if checks else body["why"]
        case "baked":
            return "the bake time is over"
        case "steered":
            return f"{body['order']}: {body['why']}"
        case "promoted":
            return f"version {body['version']} has all traffic"
        case "drained":
            return f"{body['revision']} has no request in flight"
        case "routed":
            return f"the gateway has {from_json(Split, body['split'])}"
        case "synced":
            from releases.alias_sync import describe

            return f"MLflow has {describe(body.get('in_mlflow') or body['aliases'])}"
    return json.dumps(body)


def _checks(checks: list[Any]) -> str:
    return "; ".join(f"{c['name']} {c['detail']} ({c['outcome']})" for c in checks if c["outcome"] != "skipped")
