"""Gathers what the watch of a recipe is decided from: the promise, what it was trained on, what it served."""

import json
import math
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from expectations import changed, drift, estimated, season, statistics, watch
from expectations.changed import Change
from expectations.drift import Summary
from flows import model_cards
from flows.notify import notify
from ratchet import model_card
from ratchet.answers import predicted
from ratchet.errors import Refusal
from ratchet.evaluation import diversity
from ratchet.fleet.package_cache import MODEL, PackageCache
from ratchet.lake import learning, served, snapshot
from ratchet.lake.served import Window
from ratchet.recipe import Recipe
from ratchet.settings import settings
from ratchet.types import Package, Promise, Watched, from_json, to_json
from releases import api
from releases.ledger import Ledger

_RECENT = 20_000
"""The newest predictions that may be worth a label."""


def watched(recipe: Recipe) -> Watched | None:
    """The state of the champion; None if nothing serves. Raises Refusal if nobody has its package any more."""
    from models import promise as promises

    champion = api.state_of(recipe.name).champion
    if champion is None:
        return None
    answers, plan = recipe.answers, recipe.watch
    promise = promises.of(recipe, champion)
    own = served.of_revision(recipe.name, champion.revision, plan.window, answers.width)
    labelled = served.labelled(recipe.name, champion.revision, answers.width)
    what_served = watch.Served(
        own.count,
        own.at,
        answers.certainty(own.outputs),
        labelled.at,
        labelled.losses,
        answers.certainty(labelled.outputs),
    )
    changes = _changes(recipe, champion, promise, own.window) if own.window else ()
    since = own.window.since if own.window else 0.0
    return watch.watched(recipe.name, champion.revision, promise, plan.tolerance, what_served, changes, since)


def unsure(recipe: Recipe, count: int) -> list[dict[str, Any]] | None:
    """Recent predictions of the champion that are worth a label, the most useful first; None if nothing serves.

    They are probably wrong, more so if their input is unusual, and differ from one another. What was measured of an
    input is below `input.`, and the input itself, if it is kept, is `input`.
    """
    from models import promise as promises

    champion = api.state_of(recipe.name).champion
    if champion is None:
        return None
    rows = served.unlabelled(recipe.name, champion.revision, _RECENT)
    if not rows:
        return []
    outputs = np.array([row["output"] for row in rows], np.float32)
    certainties = recipe.answers.certainty(outputs)
    expected = estimated.expected(promises.of(recipe, champion), certainties)
    measured = [json.loads(row["statistics"]) for row in rows]
    names = dict(statistics.names(recipe))
    trained = [model_cards.summary(recipe, batch) for batch in trained_on(champion)]
    renamed = [{names.get(name, name): value for name, value in each.items()} for each in measured]
    numbers = [name for name, value in measured[0].items() if isinstance(value, int | float)]
    features = np.array([[*(_number(each.get(name)) for name in numbers), *output]
                         for each, output in zip(measured, outputs.tolist(), strict=True)])  # fmt: skip
    chosen = diversity.choose(expected * (1 + changed.unusual(trained, renamed)), features, count)
    kept = dict(learning.inputs_of(recipe, {(rows[at]["request"], rows[at]["row"]) for at in chosen}))
    return [
        {
            "request id": rows[at]["request"],
            "row": rows[at]["row"],
            "at": f"{rows[at]['at']:%Y-%m-%dT%H:%M:%SZ}",
            "predicted": recipe.answers.describe(outputs[at]),
            "expected loss": round(float(expected[at]), 4),
            **{f"input.{name}": value for name, value in measured[at].items()},
            **_input(recipe, kept.get((rows[at]["request"], rows[at]["row"]))),
        }
        for at in chosen
    ]


def _input(recipe: Recipe, packed: bytes | None) -> dict[str, Any]:
    """The input as JSON has it; nothing if it is not kept, or the contract no longer reads it."""
    if packed is None:
        return {}
    try:
        (value,) = recipe.contract.values(recipe.contract.unpack(packed, 1, recipe.name))
    except Refusal:
        return {}
    return {"input": value}


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def publish(ledger: Ledger, state: Watched) -> None:
    """Keeps the state for `ratchet status`, and tells people of harm that was not there before."""
    before = ledger.statuses("watch").get(state.recipe)
    known = from_json(Watched, before.body) if before else None
    harm = next((finding.what for finding in state.findings if finding.effect == "harmful"), "")
    if harm and not (known and known.harmed and known.revision == state.revision):
        notify(f"{state.recipe}: harm", f"{state.revision} of {state.recipe} is harmed: {harm}.")
    ledger.publish(f"watch:{state.recipe}", to_json(state), time.time())


def _changes(recipe: Recipe, champion: Package, promise: Promise, window: Window) -> tuple[Change, ...]:
    """Of the newest full window: its inputs beside the batches of training, its answers beside the benchmark's."""
    batches = trained_on(champion)
    if recipe.training.recent and not recipe.training.replay:
        batches = snapshot.of_newest(recipe, batches, recipe.training.recent) or batches
    if days := recipe.watch.season_days:
        spans = snapshot.spans(recipe, batches)
        batches = season.of_the_same(spans, (window.since, window.until), days) or batches
    trained = [model_cards.summary(recipe, batch) for batch in batches]
    names = statistics.names(recipe)
    inputs = pd.DataFrame(list(window.measured)).rename(columns=dict(names))
    answers = pd.DataFrame({"certainty": recipe.answers.certainty(window.outputs)})
    if classes := predicted(recipe.answers, window.outputs):
        answers["predicted class"] = classes
    expected = Summary(
        promise.records,
        {"certainty": promise.certainties},
        {},
        {"predicted class": promise.predicted} if promise.predicted else {},
    )
    of_inputs = changed.changes(trained, drift.summarize(inputs, (), like=_union(trained)), recipe.show_inputs)
    # One class alone, or a new one, is the model's doing, and no fault of a source.
    of_answers = changed.changes([expected], drift.summarize(answers, (), like=expected), show=True)
    of_layer = _layer_changes(recipe, champion, batches, window) if recipe.watch.layer else ()
    return (*of_inputs, *of_layer, *(replace(each, fault=False) for each in of_answers))


def _layer_changes(recipe: Recipe, champion: Package, batches: list[str], window: Window) -> tuple[Change, ...]:
    from models import embedding

    compared = embedding.compare(recipe, champion, batches, window.since, window.until)
    if compared is None:
        return ()
    return changed.of_layer(recipe.watch.layer, compared.p_value, compared.served, compared.trained)


def _union(summaries: list[Summary]) -> Summary:
    """A summary whose numbers are those of any."""
    return Summary(0, {name: values for each in summaries for name, values in each.quantiles.items()}, {})


def trained_on(champion: Package) -> list[str]:
    """The batches of the snapshot, from the card in the package."""
    from models import registry

    with PackageCache(settings()).using(champion, registry.fetch_package) as folder:
        card = json.loads((folder / MODEL / model_card.DATA).read_text(encoding="utf-8"))
    return list(card["data"]["snapshot"]["batches"])
