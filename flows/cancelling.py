"""What cancelling a run does to the release that it asked for."""

import threading
from typing import Any

from prefect.states import Cancelled

from flows.runs import client
from releases import api

_SECONDS = 5.0
"""Until Prefect has written its own message over any that a hook sets."""


def withdraw_release(flow: Any, flow_run: Any, state: Any) -> None:
    """A hook of Prefect's: withdraws the release that this run watches, or says that it is too late.

    It runs in the worker, so the run's own process may be dead. A run that reached no release has none to withdraw.
    """
    id = str(flow_run.id)
    if api.withdraw(flow_run.parameters["recipe"], id):
        threading.Timer(_SECONDS, _set_message, (flow_run, api.withdrawal(flow_run.parameters["recipe"], id))).start()


def _set_message(flow_run: Any, message: str) -> None:
    with client() as prefect:
        prefect.set_flow_run_state(flow_run.id, Cancelled(message=message), force=True)
