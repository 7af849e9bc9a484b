"""Starts retrainings: records each cause once, and emits the event that the loop's deployment waits for."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
from prefect.events import emit_event

from expectations import triggers
from expectations.triggers import Cause, Past
from flows import runs, watching
from flows.log import log
from flows.notify import notify, notify_once
from ratchet.lake import ingest, learning, quarantine, table
from ratchet.recipe import Recipe
from ratchet.types import Package, Watched
from ratchet.watch_plan import Kind
from releases import api, approvals, causes, machine
from releases.ledger import Ledger

EVENT = "ratchet.retrain"
"""prefect.yaml names it as the trigger of every loop. It is emitted until a run claims its cause."""


def trigger(ledger: Ledger, recipe: Recipe, state: Watched) -> list[str]:
    """Records the causes of now and starts at most one run; returns a line for each that starts none."""
    _free_dead(ledger, recipe.name)
    past = causes.read(ledger, recipe.name)
    champion = api.state_of(recipe.name, ledger).champion
    since = min((finding.since for finding in state.findings), default=0.0)
    new = new_records(recipe, champion, since) if champion else 0
    fault = next((finding.what for finding in state.findings if finding.fault), "")
    now, possible = time.time(), _causes(recipe, state, past)
    lines = []
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


def roll_back(ledger: Ledger, recipe: Recipe, state: Watched, who: str) -> list[str]:
    """Brings the last champion back if labels show harm, and that it does better; a line if it did.

    Raises whatever the comparison raises, once for so many labels.
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
    why = ""
    try:
        why = former.why_better(recipe, current.champion, target, labelled)
    finally:
        if not why:
            ledger.publish(f"compared:{recipe.name}", {"pair": pair, "labels": len(labelled)}, time.time())
    if not why or api.state_of(recipe.name, ledger) != current:
        return []
    api.watch(api.rollback(recipe.name, who, f"{harm}; version {target.version} does better: {why}"), log.info)
    return [f"rolled back to version {target.version}: {why}"]


def _promoted_at(ledger: Ledger, recipe: str) -> float:
    return max(entry.at for entry in ledger.read(recipe) if entry.kind == "promoted")


def new_records(recipe: Recipe, champion: Package, since: float) -> int:
    """Records from then on that the champion was not trained on: admitted, waiting for validation, or labelled."""
    home, known = ingest.lake(recipe.name), watching.trained_on(champion)
    limit = pa.scalar(datetime.fromtimestamp(since, UTC), pa.timestamp("us", tz="UTC"))
    new = ~table.one_of("batch", known) & (pc.field("captured_at") >= limit)
    count = learning.waiting(recipe, since)
    for name in ("records", "landing"):
        where = new if name == "records" else new & table.one_of("batch", quarantine.pending(home))
        count += sum(part.num_rows for part in table.select(home / name, ["batch", "captured_at"], where))
    return count


def _causes(recipe: Recipe, state: Watched, past: Sequence[Past]) -> list[Cause]:
    """What might start a retraining now, the most urgent first. New labels make another cause of the same harm."""
    learnt, waiting, possible = learning.last_turn(recipe), learning.waiting(recipe), list[Cause]()

    def add(base: str, kind: Kind, why: str) -> None:
        possible.append(Cause(triggers.id_of(base, past), kind, why))

    harmful = [finding for finding in state.findings if finding.effect == "harmful"]
    changed = [finding for finding in state.findings if finding.tier == "changed"]
    if harmful:
        add(f"harm {state.revision} after {learnt}", "harm", harmful[0].what)
    if waiting >= recipe.watch.labels:
        add(f"labels after {learnt}", "labels", f"{waiting} labelled inputs have come back")
    for batch in quarantine.pending(ingest.lake(recipe.name)):
        add(f"batch {batch}", "batch", f"batch {batch} waits for validation")
    if changed and not harmful:
        add(f"drift {state.revision} after {learnt}", "drift", changed[0].what)
    return possible


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
