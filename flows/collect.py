"""Collects what was served, joins the labels that came back, and reports the state of each recipe that serves."""

import time
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows import runs, triggering, watching
from flows.log import log
from flows.refusals import refusals_are_states
from flows.rollback import roll_back_if_better
from flows.triggering import WHO
from ratchet import recipe as recipes
from ratchet.errors import Busy, Refusal
from ratchet.lake import forget, inbox, ingest, outcomes
from ratchet.recipe import Recipe, load_error
from ratchet.recipe import load as load_recipe
from releases import api, forgetting, label_file, log_collector, ticker
from releases.ledger import Ledger

_DAY = 86400.0


@flow(name="collect", persist_result=False)
@refusals_are_states
def collect() -> Any:
    """For each recipe: moves its log and inbox into the lake, joins labels, watches what serves, starts what is due."""
    if runs.is_superseded(str(flow_run.id)):
        return Completed(message=runs.SUPERSEDED)
    ledger, lines, faults = api.open_ledger(), list[str](), list[str]()
    known = sorted({*ledger.recipes(), *recipes.names()})
    for name in known:
        if why := load_error(name):
            lines.append(f"{name} is not watched: {why}")
            continue
        try:
            lines += [f"{name}: {line}" for line in _collect(ledger, load_recipe(name))]
        except Exception as error:  # one recipe must not keep the others from being watched
            log.warning("%s", name, exc_info=not isinstance(error, Refusal))
            faults.append(f"{name}: {error or type(error).__name__}")
    lines += [f"the inbox has the folder {each!r}, and there is no such recipe" for each in inbox.unknown(known)]
    if faults:
        return Failed(message="; ".join(faults))
    return Completed(message="; ".join(lines) or "nothing new")


def _collect(ledger: Ledger, recipe: Recipe) -> list[str]:
    """A line for each thing that is worth knowing."""
    lines = []
    try:
        inbox.fetch(recipe.name)
    except Refusal as refusal:
        lines.append(str(refusal))
    with log_collector.holding(recipe.name, ledger):
        lines += _gather(ledger, recipe)
    try:
        state = watching.watched(recipe)
    except Refusal as refusal:  # labels and batches are learnt all the same
        return [*lines, f"it is not watched: {refusal}", *triggering.trigger(ledger, recipe, None)]
    if state is None:
        return [*lines, *triggering.trigger(ledger, recipe, None)]
    watching.publish(ledger, state)
    for finding in state.findings:
        log.info("%s: %s, %s: %s (%s)", recipe.name, finding.tier, finding.effect, finding.what, finding.sure)
    lines += [f"{finding.effect}: {finding.what}" for finding in state.findings]
    try:
        lines += roll_back_if_better(ledger, recipe, state, WHO)
    except Refusal as refusal:  # a retraining may still cure it
        lines.append(f"the former champion does not serve again: {refusal}")
    return [*lines, *triggering.trigger(ledger, recipe, state)]


def _gather(ledger: Ledger, recipe: Recipe) -> list[str]:
    """Moves logs and inbox into the lake, erases what must go, and joins labels with predictions."""
    served = recipe.name in ledger.recipes()
    collected = log_collector.collect(recipe, WHO, log.info, ledger) if served else log_collector.Collected()
    for problem in collected.problems:
        log.warning("%s: %s", recipe.name, problem)
    forgetting.erase_listed(recipe, WHO, ledger)
    _retain(ledger, recipe)
    lines = _take_inbox(ledger, recipe)
    joined = outcomes.update(recipe, WHO)
    ledger.publish(f"labels:{recipe.name}", {"waiting": joined.waiting, "given_up": joined.given_up}, time.time())
    if collected.predictions or collected.labels or joined.outcomes:
        counts = collected.predictions, collected.labels, len(joined.outcomes)
        lines.append("predictions: {}, labels: {}, joined: {}".format(*counts))
    if joined.given_up:
        lines.append(f"{joined.given_up} labels are for no prediction that was logged")
    return lines


def _retain(ledger: Ledger, recipe: Recipe) -> None:
    """Erases once a day what the recipe's log may no longer hold."""
    last = ledger.statuses("retained").get(recipe.name)
    if last and ticker.is_recent(last.at, time.time(), _DAY):
        return
    if erased := forget.retain(recipe, WHO):
        log.info("%s: %d rows are older than %g days, and erased", recipe.name, erased, recipe.log.days)
    inbox.expire(recipe.name, recipe.log.days)
    ledger.publish(f"retained:{recipe.name}", {"days": recipe.log.days}, time.time())


def _take_inbox(ledger: Ledger, recipe: Recipe) -> list[str]:
    """Lands what people and other systems have put into the inbox; a line for each."""
    lines = []
    for path in inbox.waiting(recipe.name):
        try:
            lines.append(_land(ledger, recipe, path))
            inbox.take(path)
        except Busy as refusal:
            lines.append(f"{inbox.printable(path.name)} stays in the inbox: {inbox.printable(str(refusal))}")
        except (Refusal, OSError, UnicodeError) as error:
            lines += _refuse(recipe, path, inbox.printable(str(error)))
    return lines


def _land(ledger: Ledger, recipe: Recipe, path: Path) -> str:
    """Lands a batch, or labels. Raises Refusal, OSError or UnicodeError if it is neither."""
    name = inbox.printable(path.name)
    if path.is_symlink():
        raise Refusal("it is a link", name, "Put the file itself into the inbox")
    if inbox.is_labels(path):
        labels = label_file.read_file(path, recipe.answers, recipe.name)
        label_file.add(ledger, recipe, labels, "inbox", WHO)
        return f"{len(labels)} labels from {name}"
    batch = ingest.land(recipe, path, "inbox")
    if not batch.accepted:
        next = f"See why: `ratchet quarantine show {recipe.name} {batch.id}`"
        raise Refusal(f"all of its {batch.quarantined} records are refused", name, next)
    return f"batch {batch.id} from {name}: {batch.accepted} records landed"


def _refuse(recipe: Recipe, path: Path, why: str) -> list[str]:
    lines = [f"{inbox.printable(path.name)} is refused: {why}"]
    log.warning("%s: %s", recipe.name, why)
    try:
        inbox.take(path, why)
    except Refusal as refusal:
        lines.append(str(refusal))
    return lines
