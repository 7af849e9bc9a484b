"""What cancelling a run does to the release that it asked for."""

import threading
import time
from typing import Any

from prefect.states import Cancelled

from flows import runs
from flows.log import log
from ratchet.errors import Refusal
from releases import api

_SECONDS = 60.0
"""Until Prefect has ended a cancelled run's process and written its own message."""


def withdraw_release(flow: Any, flow_run: Any, state: Any) -> None:
    """A hook of Prefect's: withdraws the release that this run watches, or says that it is too late.

    It runs in the worker, so the run's own process may be dead. A run that reached no release has none to withdraw.
    """
    recipe, id = flow_run.parameters["recipe"], str(flow_run.id)
    api.withdraw(recipe, id)
    if message := api.withdrawal(recipe, id):
        threading.Thread(target=_set_message, args=(id, message), daemon=True).start()


def _set_message(id: str, message: str) -> None:
    """Prefect writes its own message after its hooks, over any that they set."""
    until = time.monotonic() + _SECONDS
    try:
        while not runs.has_ended(id) and time.monotonic() < until:
            time.sleep(0.5)
        with runs.client() as prefect:
            prefect.set_flow_run_state(id, Cancelled(message=message), force=True)
    except Refusal as refusal:
        log.warning("%s: %s", message, refusal)
