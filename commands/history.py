"""`ratchet history RECIPE`: what happened, from the ledger."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import click


@click.command("history")
@click.argument("recipe")
@click.option("--json", "as_json", is_flag=True, help="For a script.")
def command(recipe: str, as_json: bool) -> None:
    """Print the ledger of RECIPE: every request, report, promotion and failure, with who and why."""
    from ratchet.recipe import source
    from releases import requests

    entries = requests.ledger().read(recipe)
    if not entries:
        source(recipe)
    if as_json:
        click.echo(json.dumps([vars(e) for e in entries], indent=1))
        return
    for e in entries:
        at = datetime.fromtimestamp(e.at, UTC).strftime("%Y-%m-%d %H:%M:%S")
        click.echo(f"{e.seq:4}  {at}  {e.kind:10} {e.who}: {_line(e.kind, e.body)}")
    if not entries:
        click.echo("nothing happened yet")


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
            return f"MLflow took @champion={body['champion']}, @previous={body['previous']}"
    return json.dumps(body)


def _checks(checks: list[Any], before: str = "") -> str:
    told = "; ".join(f"{c['name']} {c['detail']} ({c['outcome']})" for c in checks if c["outcome"] != "not asked")
    return before + told if told else ""
