"""Back to the newest former champion that was never rolled back from."""

from __future__ import annotations

from typing import Any

from prefect import flow, get_run_logger
from prefect.states import Completed

from flows.refusals import refusals_are_states
from releases import requests


@flow(name="rollback", flow_run_name="{recipe}", persist_result=False)
@refusals_are_states
def rollback(recipe: str, why: str = "asked for by deployment") -> Any:
    """Enters the request in the ledger and watches the controller follow it."""
    target = requests.rollback(recipe, "rollback deployment", requests.line(why))
    requests.watch(target, get_run_logger().info)
    return Completed(message=f"version {target.version} is champion again")
