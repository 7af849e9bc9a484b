"""Starts retrainings: records each cause once, and emits the event that the loop's deployment waits for."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.events import emit_event

from expectations import triggers
from flows import runs, watching
from flows.log import log
from flows.notify import notify, notify_once
from ratchet.lake import ingest, learning, quarantine
from ratchet.recipe import Recipe
from ratchet.types import Watched
from releases import api, approvals, causes
from releases.ledger import Ledger

EVENT = "ratchet.retrain"
"""prefect.yaml names it as the trigger of every loop. It is emitted until a run claims its cause."""


def trigger(ledger: Ledger, recipe: Recipe, state: Watched) -> list[str]:
    """Records the causes of now and starts at most one run; returns a line for each that starts none."""
    _free_dead(ledger, recipe.name)
    past = causes.read(ledger, recipe.name)
    champion = api.state_of(recipe.name, ledger).champion
    since = min((finding.since for finding in state.findings), default=0.0)
    new = learning.new_records(recipe, watching.trained_on(champion), since) if champion else 0
    fault = next((finding.what for finding in state.findings if finding.fault), "")
    learnt, waiting = learning.last_turn(recipe), learning.waiting(recipe)
    pending = quarantine.pending(ingest.lake(recipe.name))
    possible = triggers.causes(state, recipe.watch, learnt, waiting, pending, past)
    now, lines = time.time(), []
    for decision in triggers.decisions(recipe.name, recipe.watch, possible, past, new, now, fault):
        cause = decision.cause
        if not decision.start:
            lines.append(f"{cause.why}; no retraining starts: {decision.why}")
            if decision.overspent:
                sentence = f"No retraining of {recipe.name} starts, although {cause.why}: {decision.why}."
                notify_once(ledger, recipe.name, "budget spent", f"week {now // triggers.WEEK:.0f}", sentence)
        elif causes.add(ledger, recipe.name, cause.id, cause.kind, cause.why):
            log.info("%s: a retraining starts, because %s", recipe.name, cause.why)
            notify(f"{recipe.name}: retraining", f"A retraining of {recipe.name} starts, because {cause.why}.")
    _emit_unclaimed(ledger, recipe.name)
    return lines


def _emit_unclaimed(ledger: Ledger, recipe: str) -> None:
    """Emits the event of each cause that no run has, or will have: Prefect may have lost an earlier one."""
    for past in causes.read(ledger, recipe):
        if past.run is None and past.result is None and not runs.is_expected(recipe, past.id):
            resource = {"prefect.resource.id": f"ratchet.recipe.{recipe}", "prefect.resource.name": recipe}
            emit_event(event=EVENT, resource=resource, payload={"cause": past.id, "why": past.why})
            log.info("%s: the event %s is emitted for the cause %r", recipe, EVENT, past.id)


def _free_dead(ledger: Ledger, recipe: str) -> None:
    """Takes causes from runs that have ended without saying so, as killed ones do."""
    for past in causes.read(ledger, recipe):
        if past.run is not None and past.result is None and runs.is_over(past.run):
            waited = approvals.waited(recipe, past.run)
            causes.release(ledger, recipe, past.run, runs.is_cancelled(past.run), waited)


@contextmanager
def claimed(ledger: Ledger, recipe: str, cause: str, run: str) -> Iterator[None]:
    """Holds a cause that this run has claimed while the block runs, and records whether it ended in a release."""
    if not cause:
        yield
        return
    before = api.state_of(recipe, ledger).champion
    try:
        yield
    except Exception:
        causes.end(ledger, recipe, cause, "failed", approvals.waited(recipe, run))
        raise
    result = "released" if api.state_of(recipe, ledger).champion != before else "nothing new"
    causes.end(ledger, recipe, cause, result, approvals.waited(recipe, run))
