"""Forgets subjects and requests: for the command, and for whatever arrives later."""

from collections.abc import Callable, Sequence

from bentos.caller import subject_digest
from ratchet.lake import forget
from ratchet.lake.forget import Forgotten
from ratchet.recipe import Recipe
from releases import log_collector
from releases.ledger import Ledger


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
    """Erases what is on the list. The caller holds the lease of the recipe's log."""
    forget.list_requests(recipe.name, who)  # first: what is erased no longer says whose it was
    result = forget.erase(recipe, who)
    ledger.remove_labels(recipe.name, forget.listed(recipe.name)[0])
    return result
