"""Gathers what the watch of a recipe is decided from: the promise, what it was trained on, what it served."""

import json
import time

import pandas as pd

from expectations import changed, drift, statistics, watch
from expectations.changed import Change
from expectations.drift import Summary
from flows import model_cards
from ratchet import model_card
from ratchet.answers import predicted
from ratchet.fleet.package_cache import MODEL, PackageCache
from ratchet.lake import served
from ratchet.lake.served import Predictions
from ratchet.recipe import Recipe
from ratchet.settings import settings
from ratchet.types import Package, Promise, Watched, to_json
from releases import api
from releases.ledger import Ledger


def watched(recipe: Recipe) -> Watched | None:
    """How it is with the champion; None if nothing serves. Raises Refusal if nobody has its package any more."""
    from models import promise as promises

    champion = api.state_of(recipe.name).champion
    if champion is None:
        return None
    answers, plan = recipe.answers, recipe.watch
    promise = promises.of(recipe, champion)
    own = served.of_revision(recipe.name, champion.revision, plan.window, answers.width)
    labelled = served.labelled(recipe.name, champion.revision, answers.width)
    what = watch.Served(
        own.at, answers.certainty(own.outputs), labelled.at, labelled.losses, answers.certainty(labelled.outputs)
    )
    changes = _changes(recipe, champion, promise, own) if own.measured else ()
    return watch.watched(recipe.name, champion.revision, promise, plan.tolerance, what, changes, plan.window)


def publish(ledger: Ledger, state: Watched) -> None:
    """Keeps the state for `ratchet status`."""
    ledger.publish(f"watch:{state.recipe}", to_json(state), time.time())


def _changes(recipe: Recipe, champion: Package, promise: Promise, own: Predictions) -> tuple[Change, ...]:
    """Of the newest full window: its inputs beside the batches of training, its answers beside the benchmark's."""
    trained = [model_cards.summary(recipe, batch) for batch in trained_on(champion)]
    names = statistics.names(recipe)
    inputs = pd.DataFrame(list(own.measured)).rename(columns=dict(names))
    last = len(own.at) // recipe.watch.window * recipe.watch.window
    outputs = own.outputs[last - recipe.watch.window : last]
    answers = pd.DataFrame({"certainty": recipe.answers.certainty(outputs)})
    if classes := predicted(recipe.answers, outputs):
        answers["predicted class"] = classes
    expected = Summary(
        promise.records,
        {"certainty": promise.certainties},
        {},
        {"predicted class": promise.predicted} if promise.predicted else {},
    )
    of_inputs = changed.changes(trained, drift.summarize(inputs, (), like=_union(trained)))
    return (*of_inputs, *changed.changes([expected], drift.summarize(answers, (), like=expected)))


def _union(summaries: list[Summary]) -> Summary:
    """A summary whose numbers are those of any."""
    return Summary(0, {name: values for each in summaries for name, values in each.quantiles.items()}, {})


def trained_on(champion: Package) -> list[str]:
    """The batches of the snapshot, from the card in the package."""
    from models import registry

    with PackageCache(settings()).using(champion, registry.fetch_package) as folder:
        card = json.loads((folder / MODEL / model_card.DATA).read_text(encoding="utf-8"))
    return list(card["data"]["snapshot"]["batches"])
