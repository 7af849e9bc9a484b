"""`ratchet history RECIPE`: what happened, from the ledger."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click

from releases.ledger import Entry
from releases.record import Share

_TIMES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"]


@click.command("history")
@click.argument("recipe")
@click.option("--shares", is_flag=True, help="Which version had which share of the traffic, and when.")
@click.option("--at", type=click.DateTime(_TIMES), help="Which one had it at this moment (UTC).")
@click.option("--json", "as_json", is_flag=True, help="For a script.")
def command(recipe: str, shares: bool, at: datetime | None, as_json: bool) -> None:
    """Print the ledger of RECIPE: every request, step, promotion and failure, with who and why."""
    from ratchet.recipe import source
    from releases import record, requests

    entries = requests.ledger().read(recipe)
    if not entries:
        source(recipe)
    told: Sequence[Entry | Share] = record.shares(entries) if shares else entries
    if at is not None:
        held = record.at(record.shares(entries), at.replace(tzinfo=UTC).timestamp())
        told = [held] if held else []
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(t) for t in told], indent=1))
        return
    for each in told:
        click.echo(_share(each) if isinstance(each, record.Share) else _entry(each))
    if not told:
        click.echo("nothing happened yet" if at is None else "nothing served then")


def _entry(e: Entry) -> str:
    return f"{e.seq:4}  {_time(e.at)}  {e.kind:10} {e.who}: {_line(e.kind, e.body)}"


def _share(share: Share) -> str:
    split = share.split
    told = ", ".join(f"{arm} {weight} %" for arm, weight in split.weights.items()) or "no traffic"
    mirrored = f", mirrored to {split.mirror} {split.percent} %" if split.mirror else ""
    return f"{_time(share.at)}  {told}{mirrored}  ({share.who}, {share.kind}: {share.why})"


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _line(kind: str, body: Any) -> str:
    match kind:
        case "requested":
            to = "rollback to" if body["kind"] == "rollback" else "release of"
            where = f", on {', '.join(body['hosts'])}" if "hosts" in body else ""
            return f"{to} version {body['package']['version']}: {body['why']}{where}"
        case "healthy":
            return f"answers its golden set on {', '.join(body.get('hosts', {})) or 'its host'}"
        case "passed":
            return f"step {body['step'] + 1}: {_checks(body['checks'])}"
        case "failed" | "halted":
            return f"{body['why']}{_checks(body.get('checks', []), ': ')}"
        case "baked":
            return "the bake time is over"
        case "steered":
            return f"{body['order']}: {body['why']}"
        case "promoted":
            return f"version {body['version']} has all traffic"
        case "drained":
            return f"{body.get('arm') or 'v' + body['version']} has no request left"
        case "recorded":
            return f"MLflow was told: champion {body['champion'] or 'none'}, previous {body['previous'] or 'none'}"
    return json.dumps(body)


def _checks(checks: list[Any], before: str = "") -> str:
    told = "; ".join(f"{c['name']} {c['detail']} ({c['outcome']})" for c in checks if c["outcome"] != "not asked")
    return before + told if told else ""
