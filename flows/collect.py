"""Collects what was served, joins the labels that came back, and says how it is with each recipe that serves."""

from typing import Any

from prefect import flow
from prefect.states import Completed

from flows import watching
from flows.log import log
from flows.refusals import refusals_are_states
from ratchet.lake import outcomes
from ratchet.recipe import load as load_recipe
from releases import api, log_collector

WHO = "collect"


@flow(name="collect", persist_result=False)
@refusals_are_states
def collect() -> Any:
    """Moves the hosts' logs into the lake, each row once, and joins labels with predictions."""
    ledger, lines = api.open_ledger(), []
    for recipe in ledger.recipes():
        collected = log_collector.collect(recipe, WHO, log.info, ledger)
        joined = outcomes.update(load_recipe(recipe), WHO)
        for problem in collected.problems:
            log.warning("%s: %s", recipe, problem)
        if collected.predictions or collected.labels or joined.outcomes:
            counts = collected.predictions, collected.labels, len(joined.outcomes)
            lines.append("{}: {} predictions, {} labels, {} joined".format(recipe, *counts))
        if (state := watching.watched(load_recipe(recipe))) is not None:
            watching.publish(ledger, state)
            for finding in state.findings:
                log.info("%s: %s, %s: %s (%s)", recipe, finding.tier, finding.effect, finding.what, finding.sure)
            for remark in state.remarks:
                log.info("%s: %s", recipe, remark)
    return Completed(message="; ".join(lines) or "nothing to collect")
