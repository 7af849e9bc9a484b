"""What keeps the fleet right and needs a worker: runs that nobody runs, and events of what the controller did.

The rest is the controller's and the agents', who work with Prefect dead.
"""

from __future__ import annotations

import time
from typing import Any

from prefect import flow
from prefect.events import emit_event
from prefect.states import Completed

from flows import runs
from flows.refusals import refusals_are_states
from ratchet.settings import settings
from releases import requests

TOLD = ("promoted", "failed", "halted", "baked", "steered")


@flow(name="reconcile", persist_result=False)
@refusals_are_states
def reconcile() -> Any:
    """Marks dead flow runs as crashed, which frees what they held; tells in one line what is not as it should be."""
    emit_new()
    ended = runs.crash_zombies(settings())
    told = [f"marked {name} as crashed" for name in ended] + requests.astray()
    return Completed(message="; ".join(told) or "nothing to change")


def emit_new() -> None:
    """Makes a Prefect event, `ratchet.promoted` and the like, of what is new in the ledger: at least once each."""
    book = requests.ledger()
    emitted = book.heard("emitted")
    for recipe in book.recipes():
        after = int(emitted[recipe].body["seq"]) if recipe in emitted else 0
        entries = book.read(recipe, after)
        for entry in entries:
            if entry.kind in TOLD:
                what = {"prefect.resource.id": f"ratchet.recipe.{recipe}", "prefect.resource.name": recipe}
                told = {"who": entry.who, "at": entry.at, "why": entry.body.get("why", ""), "seq": entry.seq}
                emit_event(event=f"ratchet.{entry.kind}", resource=what, payload=told)
        if entries:
            book.say(f"emitted:{recipe}", {"seq": entries[-1].seq}, time.time())
