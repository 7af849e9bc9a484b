"""Starts retrainings: records each cause once, and emits the event that the loop's deployment waits for."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
from prefect.events import emit_event
from prefect.runtime import flow_run

from expectations import triggers
from expectations.triggers import Cause, Past
from flows import runs, watching
from flows.log import log
from flows.notify import notify
from ratchet.lake import ingest, learning, quarantine, table
from ratchet.recipe import Recipe
from ratchet.types import Package, Watched
from releases import api, causes
from releases.ledger import Ledger

EVENT = "ratchet.retrain"
"""prefect.yaml names it as the trigger of every loop. It is emitted until a run claims its cause."""


def trigger(ledger: Ledger, recipe: Recipe, state: Watched) -> list[str]:
    """Records the causes of now and starts at most one run; returns a line for each that starts none."""
    _free_dead(ledger, recipe.name)
    past = [_past(row) for row in causes.read(ledger, recipe.name)]
    champion = api.state_of(recipe.name, ledger).champion
    since = min((finding.since for finding in state.findings), default=0.0)
    new = new_records(recipe, champion, since) if champion else 0
    decisions = triggers.decisions(recipe.name, recipe.watch, _causes(recipe, state), past, new, time.time())
    lines = []
    for decision in decisions:
        cause = decision.cause
        if not decision.start:
            lines.append(f"{cause.why}; no retraining starts: {decision.why}")
        elif causes.add(ledger, recipe.name, cause.id, cause.kind, cause.why):
            log.info("%s: a retraining starts, since %s", recipe.name, cause.why)
            notify(f"{recipe.name}: retraining", f"A retraining of {recipe.name} starts, since {cause.why}.")
    _emit_unclaimed(ledger, recipe.name)
    return lines


def new_records(recipe: Recipe, champion: Package, since: float) -> int:
    """Records from then on that the champion was not trained on: admitted, waiting for validation, or labelled."""
    home, known = ingest.lake(recipe.name), watching.trained_on(champion)
    limit = pa.scalar(datetime.fromtimestamp(since, UTC), pa.timestamp("us", tz="UTC"))
    new = ~table.one_of("batch", known) & (pc.field("captured_at") >= limit)
    count = learning.waiting(recipe, since)
    for name in ("records", "landing"):
        rows = table.rows(home / name, ["batch", "captured_at"])
        where = new if name == "records" else new & table.one_of("batch", quarantine.pending(home))
        count += sum(pa.Table.from_batches([part]).filter(where).num_rows for part in (rows.parts() if rows else ()))
    return count


def _causes(recipe: Recipe, state: Watched) -> list[Cause]:
    """What might start a retraining now, the most urgent first."""
    present = []
    harmful = [finding for finding in state.findings if finding.effect == "harmful"]
    if harmful:
        present.append(Cause(f"harm {state.revision}", "harm", harmful[0].what))
    waiting = learning.waiting(recipe)
    if waiting >= recipe.watch.labels:
        turn = learning.last_turn(recipe)
        present.append(Cause(f"labels after {turn}", "labels", f"{waiting} labelled inputs have come back"))
    for batch in quarantine.pending(ingest.lake(recipe.name)):
        present.append(Cause(f"batch {batch}", "batch", f"batch {batch} waits for validation"))
    changed = [finding for finding in state.findings if finding.tier == "changed"]
    if changed and not harmful:
        present.append(Cause(f"drift {state.revision}", "drift", changed[0].what))
    return present


def _emit_unclaimed(ledger: Ledger, recipe: str) -> None:
    for row in causes.read(ledger, recipe):
        if row["run"] is None and row["ended"] is None:
            resource = {"prefect.resource.id": f"ratchet.recipe.{recipe}", "prefect.resource.name": recipe}
            emit_event(event=EVENT, resource=resource, payload={"cause": row["cause"], "why": row["why"]})
            log.info("%s: the event %s is emitted for the cause %s", recipe, EVENT, json.dumps(row["cause"]))


def _free_dead(ledger: Ledger, recipe: str) -> None:
    """Takes causes from runs that have ended without saying so, as killed ones do."""
    for row in causes.read(ledger, recipe):
        if row["run"] is not None and row["ended"] is None and runs.is_over(row["run"]):
            causes.release(ledger, recipe, row["run"])


def _past(row: object) -> Past:
    values = dict(row)  # type: ignore[call-overload]
    return Past(values["cause"], values["kind"], values["at"], values["started"], values["ended"], values["result"])


@contextmanager
def claimed(ledger: Ledger, recipe: str, cause: str) -> Iterator[None]:
    """Holds a cause while the block runs, and records whether it ended in a release.

    Raises Refusal if another run has the cause. Without one it does nothing.
    """
    if not cause:
        yield
        return
    before = api.state_of(recipe, ledger).champion
    causes.claim(ledger, recipe, cause, str(flow_run.id))
    try:
        yield
    except Exception:
        causes.end(ledger, recipe, cause, "failed")
        raise
    after = api.state_of(recipe, ledger).champion
    causes.end(ledger, recipe, cause, "released" if after != before else "nothing new")
