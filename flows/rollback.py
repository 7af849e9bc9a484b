"""Rolls back to the newest former champion that was never rolled back."""

from typing import Any

from prefect import flow
from prefect.states import Completed

from flows.log import log
from flows.refusals import refusals_are_states
from releases import api


@flow(name="rollback", flow_run_name="{recipe}", persist_result=False)
@refusals_are_states
def rollback(recipe: str, why: str = "requested by deployment") -> Any:
    """Requests the rollback, and watches the controller follow the request."""
    target = api.rollback(recipe, "rollback deployment", api.one_line(why))
    api.watch(target, log.info)
    return Completed(message=f"version {target.version} is champion again")
