"""What keeps the fleet right and needs a worker: flow runs that nobody runs any more. The rest is the controller's."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.states import Completed

from flows import runs
from flows.refusals import refusals_are_states
from ratchet.settings import settings
from releases import requests


@flow(name="reconcile", persist_result=False)
@refusals_are_states
def reconcile() -> Any:
    """Marks dead flow runs as crashed, which frees what they held; tells in one line what is not as it should be."""
    ended = runs.crash_zombies(settings())
    told = [f"marked {name} as crashed" for name in ended] + requests.astray()
    return Completed(message="; ".join(told) or "nothing to change")
