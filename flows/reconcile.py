"""What keeps the fleet right and needs a worker: it ends dead runs, withdraws what cancelled ones asked for, and emits
events of what the controller did.

Controller and agents do the rest, and work without Prefect.
"""

import time
from typing import Any

from prefect import flow
from prefect.events import emit_event
from prefect.runtime import flow_run
from prefect.states import Completed

from flows import runs
from flows.notify import notify
from flows.refusals import refusals_are_states
from ratchet.settings import settings
from releases import api
from releases.ledger import Entry

EMITTED = ("promoted", "failed", "halted", "baked", "steered")


@flow(name="reconcile", persist_result=False)
@refusals_are_states
def reconcile() -> Any:
    """Marks dead flow runs as crashed, which frees what they held; says in one line what is not as it should be."""
    if runs.is_superseded(str(flow_run.id)):
        return Completed(message=runs.SUPERSEDED)
    emit_new()
    crashed = [f"marked {name} as crashed" for name in runs.crash_dead_runs(settings())]
    return Completed(message="; ".join(crashed + _withdraw_cancelled() + api.differences()) or "nothing to change")


def _withdraw_cancelled() -> list[str]:
    """Withdraws the releases of cancelled runs whose worker died before it could: a line for each."""
    watched = {recipe: status.body["run"] for recipe, status in api.open_ledger().statuses("run").items()}
    in_progress = {recipe: run for recipe, run in watched.items() if api.state_of(recipe).challenger}
    cancelled = {recipe: run for recipe, run in in_progress.items() if runs.is_cancelled(run)}
    return [
        f"{recipe}: {api.withdrawal(recipe, run)}" for recipe, run in cancelled.items() if api.withdraw(recipe, run)
    ]


def emit_new() -> None:
    """Emits a Prefect event, such as `ratchet.promoted`, for each new entry of the ledger, at least once."""
    ledger = api.open_ledger()
    emitted = ledger.statuses("emitted")
    for recipe in ledger.recipes():
        after = int(emitted[recipe].body["seq"]) if recipe in emitted else 0
        entries = ledger.read(recipe, after)
        for entry in entries:
            if entry.kind in EMITTED:
                resource = {"prefect.resource.id": f"ratchet.recipe.{recipe}", "prefect.resource.name": recipe}
                payload = {"who": entry.who, "at": entry.at, "why": entry.body.get("why", ""), "seq": entry.seq}
                emit_event(event=f"ratchet.{entry.kind}", resource=resource, payload=payload)
                notify(f"{recipe}: {entry.kind}", _sentence(recipe, entry))
        if entries:
            ledger.publish(f"emitted:{recipe}", {"seq": entries[-1].seq}, time.time())


def _sentence(recipe: str, entry: Entry) -> str:
    """What the controller did, for people."""
    version, why = entry.body.get("version", ""), entry.body.get("why", "")
    which = f"version {version} of {recipe}" if version else recipe
    return f"{which}: {entry.kind} by {entry.who}" + (f", since {why}" if why else "")
