"""Collects what was served, joins the labels that came back, and reports the state of each recipe that serves."""

import time
from typing import Any

from prefect import flow
from prefect.states import Completed, Failed

from flows import triggering, watching
from flows.log import log
from flows.refusals import refusals_are_states
from flows.rollback import roll_back_if_better
from ratchet.errors import Busy, Refusal
from ratchet.lake import forget, inbox, ingest, outcomes
from ratchet.recipe import Recipe, load_error
from ratchet.recipe import load as load_recipe
from releases import api, forgetting, label_file, log_collector, ticker
from releases.ledger import Ledger

WHO = "collect"
_DAY = 86400.0


@flow(name="collect", persist_result=False)
@refusals_are_states
def collect() -> Any:
    """For each recipe that serves: moves its log into the lake, joins labels, watches, and starts what is due."""
    ledger, lines, faults = api.open_ledger(), list[str](), list[str]()
    for name in ledger.recipes():
        if why := load_error(name):
            lines.append(f"{name} is not watched: {why}")
            continue
        try:
            lines += [f"{name}: {line}" for line in _collect(ledger, load_recipe(name))]
        except Exception as error:  # one recipe must not keep the others from being watched
            log.warning("%s", name, exc_info=not isinstance(error, Refusal))
            faults.append(f"{name}: {error or type(error).__name__}")
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
    state = watching.watched(recipe)
    if state is None:
        return lines
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
    collected = log_collector.collect(recipe, WHO, log.info, ledger)
    for problem in collected.problems:
        log.warning("%s: %s", recipe.name, problem)
    forgetting.erase_listed(recipe, WHO, ledger)
    _retain(ledger, recipe)
    lines = _take_inbox(ledger, recipe)
    joined = outcomes.update(recipe, WHO)
    ledger.publish(f"labels:{recipe.name}", {"waiting": joined.waiting, "given_up": joined.given_up}, time.time())
    if collected.predictions or collected.labels or joined.outcomes:
        counts = collected.predictions, collected.labels, len(joined.outcomes)
        lines.append("{} predictions, {} labels, {} joined".format(*counts))
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
    ledger.publish(f"retained:{recipe.name}", {"days": recipe.log.days}, time.time())


def _take_inbox(ledger: Ledger, recipe: Recipe) -> list[str]:
    """Lands what people and other systems have put into the inbox; a line for each."""
    lines = []
    for path in inbox.waiting(recipe.name):
        name = inbox.printable(path.name)
        try:
            if path.is_symlink():
                raise Refusal("it is a link", name, "Put the file itself into the inbox")
            if inbox.is_labels(path):
                labels = label_file.read_file(path, recipe.answers, recipe.name)
                label_file.add(ledger, recipe, labels, "inbox", WHO)
                lines.append(f"{len(labels)} labels from {name}")
            else:
                batch = ingest.land(recipe, path, "inbox")
                lines.append(f"batch {batch.id} from {name}: {batch.accepted} records landed")
            inbox.take(path)
        except Busy as refusal:
            lines.append(f"{name} stays in the inbox: {inbox.printable(str(refusal))}")
        except (Refusal, OSError, UnicodeError) as error:
            why = inbox.printable(str(error))
            log.warning("%s: %s", recipe.name, why)
            lines.append(f"{name} is refused: {why}")
            inbox.take(path, why)
    return lines
