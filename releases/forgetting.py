"""Forgets subjects and requests: for the command, and for whatever arrives later."""

import time
from collections.abc import Callable, Sequence

from bentos.caller import subject_digest
from ratchet.lake import forget, table
from ratchet.lake.forget import Forgotten
from ratchet.recipe import Recipe
from releases import log_collector, ticker
from releases.ledger import Ledger

_MARGIN_SECONDS = 2 * 3600.0
"""By which a file is looked through again: what a killed process left is erased an hour later."""
_WHOLE_SECONDS = 86400.0
"""After which all files are looked through again."""


def forget_now(
    recipe: Recipe,
    subjects: Sequence[str],
    requests: Sequence[str],
    who: str,
    report: Callable[[str], None],
    ledger: Ledger,
) -> tuple[Forgotten, tuple[str, ...]]:
    """What was erased, and the hosts whose log could not be reached: what they hold is erased when it is collected."""
    with log_collector.holding(recipe.name, ledger):
        forget.add(recipe.name, requests, [subject_digest(recipe.name, subject) for subject in subjects], who)
        problems = log_collector.collect(recipe, who, report, ledger).problems
        return erase_listed(recipe, who, ledger), problems


def erase_listed(recipe: Recipe, who: str, ledger: Ledger) -> Forgotten:
    """Erases what is on the list. The caller holds the lease of the recipe's log.

    Files that were looked through for the same list are not looked through again.
    """
    forget.list_requests(recipe.name, who)  # first: what is erased no longer says whose it was
    name, listed, now = recipe.name, table.version(forget.path(recipe.name)), time.time()
    last = ledger.statuses("erased").get(name)
    if last and last.body["listed"] == listed and ticker.is_recent(last.body["whole"], now, _WHOLE_SECONDS):
        whole, since = last.body["whole"], last.at - _MARGIN_SECONDS
    else:
        whole, since = now, 0.0
    result = forget.erase(recipe, who, since)
    ledger.remove_labels(name, forget.listed(name)[0])
    ledger.publish(f"erased:{name}", {"listed": listed, "whole": whole}, now)
    return result
