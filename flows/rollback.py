"""Rolls back to the newest former champion that was never rolled back."""

import time
from typing import Any

from prefect import flow
from prefect.states import Completed

from expectations import triggers
from flows.log import log
from flows.refusals import refusals_are_states
from ratchet import clock
from ratchet.recipe import Recipe
from ratchet.types import Watched
from releases import api, machine
from releases.ledger import Ledger


@flow(name="rollback", flow_run_name="{recipe}", persist_result=False)
@refusals_are_states
def rollback(recipe: str, why: str = "requested by deployment") -> Any:
    """Requests the rollback, and watches the controller follow the request."""
    target = api.rollback(recipe, "rollback deployment", api.one_line(why))
    api.watch(target, log.info)
    return Completed(message=f"version {target.version} is champion again")


def roll_back_if_better(ledger: Ledger, recipe: Recipe, state: Watched, who: str) -> list[str]:
    """Brings the last champion back if labels show harm, and that it does better; a line if it did.

    Raises whatever the comparison or the rollback raises, once for so many labels.
    """
    from models import former

    current = api.state_of(recipe.name, ledger)
    target = machine.rollback_target(current)
    harm = next((f.what for f in state.findings if (f.tier, f.effect) == ("measured", "harmful")), "")
    if not triggers.may_roll_back(recipe.watch, current.phase, bool(current.frozen), harm) or not current.champion:
        return []
    if target is None or not (labelled := former.labelled(recipe, current.champion, _promoted_at(ledger, recipe.name))):
        return []
    pair, last = [current.champion.revision, target.revision], ledger.statuses("compared").get(recipe.name)
    if not triggers.should_compare(len(labelled), last.body["labels"] if last and last.body["pair"] == pair else 0):
        return []
    is_settled = True
    try:
        if not (why := former.why_better(recipe, current.champion, target, labelled)):
            return []
        if api.state_of(recipe.name, ledger) != current:  # a release began: it is compared again
            is_settled = False
            return []
        api.watch(api.rollback(recipe.name, who, f"{harm}; version {target.version} does better: {why}"), log.info)
        is_settled = False  # another champion serves
    finally:
        if is_settled:
            ledger.publish(f"compared:{recipe.name}", {"pair": pair, "labels": len(labelled)}, time.time())
    return [f"rolled back to version {target.version}: {why}"]


def _promoted_at(ledger: Ledger, recipe: str) -> float:
    return max(clock.played(entry.at) for entry in ledger.read(recipe) if entry.kind == "promoted")
