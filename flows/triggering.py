"""Starts retrainings: records each cause once, and emits the event that the loop's deployment waits for."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.events import emit_event

from expectations import triggers
from flows import runs, watching
from flows.log import log
from flows.notify import notify, notify_once
from ratchet import clock
from ratchet.lake import ingest, learning, outcomes, quarantine
from ratchet.recipe import Recipe
from ratchet.types import Watched
from releases import api, approvals, causes
from releases.ledger import Ledger

WHO = "collect"
"""Who brings a former champion back."""
EVENT = "ratchet.retrain"
"""prefect.yaml names it as the trigger of every loop. It is emitted until a run claims its cause."""


def trigger(ledger: Ledger, recipe: Recipe, state: Watched | None) -> list[str]:
    """Records the causes of now and starts at most one run; returns a line for each that starts none.

    `state` is None if nothing that serves is watched.
    """
    _free_dead(ledger, recipe.name)
    name, past, now = recipe.name, causes.read(ledger, recipe.name), clock.now()
    champion = api.state_of(name, ledger).champion if state else None
    findings = state.findings if state else ()
    since = min((finding.since for finding in findings), default=0.0)
    new = learning.new_records(recipe, watching.trained_on(champion), since) if champion else 0
    fault = next((finding.what for finding in findings if finding.fault), "")
    if fault:
        _call_person(ledger, name, "broken source", f"The source of the inputs of {name} may be broken: {fault}.", now)
    labelled, waiting = outcomes.turn(name), learning.waiting(recipe)
    possible = triggers.causes(state, recipe.watch, labelled, waiting, quarantine.pending(ingest.lake(name)), past)
    lines = []
    for decision in triggers.decisions(name, recipe.watch, possible, past, new, now, fault, _released_at(ledger, name)):
        cause, obstacle = decision.cause, decision.obstacle
        if obstacle:
            lines.append(f"{cause.why}; no retraining starts: {obstacle.why}")
            if obstacle.needs and not fault:
                sentence = f"No retraining of {name} starts, although {cause.why}: {obstacle.why}."
                _call_person(ledger, name, obstacle.needs, sentence, now)
        elif causes.add(ledger, name, cause.id, cause.kind, cause.why):
            log.info("%s: a retraining starts, because %s", name, cause.why)
            notify(f"{name}: retraining", f"A retraining of {name} starts, because {cause.why}.")
    _emit_unclaimed(ledger, name)
    return lines


def _released_at(ledger: Ledger, recipe: str) -> float:
    """When the last version was promoted but for those that `collect` brought back; 0 if none was."""
    by, promoted_at = "", 0.0
    for entry in ledger.read(recipe):
        if entry.kind == "requested":
            by = entry.who
        elif entry.kind == "promoted" and by != WHO:
            promoted_at = clock.played(entry.at)
    return promoted_at


def _call_person(ledger: Ledger, recipe: str, needs: str, sentence: str, now: float) -> None:
    """Once a week for each need."""
    notify_once(ledger, recipe, needs, f"week {now // triggers.WEEK:.0f}", sentence)


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
            expiry = ledger.expiry(f"run:{recipe}") or time.time()  # it renewed its lease as long as it lived
            causes.release(ledger, recipe, past.run, runs.is_cancelled(past.run), min(expiry, time.time()), waited)


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
