"""Puts the model card of a version together from what each stage kept, and saves it where people look."""

import json
from pathlib import Path
from typing import Any

from prefect.artifacts import create_markdown_artifact
from prefect.runtime import flow_run

from expectations.drift import Summary, drift, summarize, upgraded
from flows import release_price, runs
from ratchet import model_card
from ratchet.files import load, save
from ratchet.lake import ingest as lake
from ratchet.lake import learning
from ratchet.recipe import Recipe
from ratchet.recipe import load as load_recipe
from ratchet.settings import settings
from ratchet.tasks import parts as tasks
from ratchet.types import Candidate, CardSources, Drift, EvaluationReport, Snapshot, SuiteResult, from_json, to_json


def publish(candidate: Candidate, report: EvaluationReport) -> None:
    """Saves the card with the version in MLflow, blessed or not, and as an artifact of this run."""
    from models import registry

    content = card(candidate, report)
    registry.upload(registry.path_of(candidate, model_card.DATA), json.dumps(content, indent=1))
    registry.upload(registry.path_of(candidate, model_card.PAGE), model_card.to_html(content))
    create_markdown_artifact(model_card.to_markdown(content), key=f"card-{candidate.recipe}")


def card(candidate: Candidate, report: EvaluationReport) -> dict[str, Any]:
    from models import candidate as candidates
    from models import explanations, registry

    recipe = load_recipe(candidate.recipe)
    suites, siblings = _suites(recipe.name, candidate.snapshot), tuple(candidates.siblings(candidate))
    drifted = _drift(recipe, candidate, report.champion)
    page, run = registry.ui_url(candidate), runs.url(str(flow_run.id))
    cost = release_price.sentence(recipe, recipe.release_plan)
    what_if = f"ratchet replay {recipe.name} --from {settings().home.name}" if recipe.log.inputs else ""
    sources = CardSources(candidate, report, suites, drifted, siblings, page, run, cost, what_if)
    return model_card.to_data(recipe, sources, explanations.read(candidate))


def _drift(recipe: Recipe, candidate: Candidate, champion: str | None) -> tuple[Drift, ...]:
    """Of the batches that the champion was not trained on, compared with those that it was trained on."""
    from models import candidate as candidates

    version = candidates.kept(recipe.name, champion)
    if version is None:
        return ()
    older = set(candidates.read(version).snapshot.batches)
    summaries = {batch: summary(recipe, batch) for batch in sorted(older | set(candidate.snapshot.batches))}
    old = [summary for batch, summary in summaries.items() if batch in older]
    new = [summary for batch, summary in summaries.items() if batch not in older]
    return drift(old, new)


def summary(recipe: Recipe, batch: str) -> Summary:
    """The summary of an admitted batch: kept when its suite ran, or made now.

    That is so if its admission was forced, or something of it was forgotten.
    """
    from expectations import statistics

    if saved := load(_summary_path(recipe, batch)):
        return upgraded(from_json(Summary, saved))
    anew = summarize(statistics.of_batch(recipe, lake.lake(recipe.name), batch, "records"), _shares(recipe))
    save(_summary_path(recipe, batch), to_json(anew))
    return anew


def _shares(recipe: Recipe) -> tuple[str, ...]:
    return tasks.labels(recipe.answers.task).SHARES


def _summary_path(recipe: Recipe, batch: str) -> Path:
    return lake.lake(recipe.name) / "summaries" / f"{batch}.json"


def run_suite(recipe: Recipe, batch: str) -> SuiteResult:
    """Runs the suite on a landed batch; keeps its result, and the batch's summary.

    Nothing that shows a value is kept of requests that were served, since they may have to be forgotten.
    """
    from expectations import checkpoint, statistics
    from expectations.suite import suite

    home = lake.lake(recipe.name)
    frame = statistics.of_batch(recipe, home, batch)
    shown = batch not in learning.batches(recipe.name)
    result = checkpoint.check(recipe.name, batch, frame, suite(recipe), keep=shown, show=shown)
    save(home / "suites" / f"{batch}.json", to_json(result))
    save(_summary_path(recipe, batch), to_json(summarize(frame, _shares(recipe))))
    return result


def _suites(recipe: str, snapshot: Snapshot) -> tuple[SuiteResult, ...]:
    results = (load(lake.lake(recipe) / "suites" / f"{batch}.json") for batch in snapshot.batches)
    return tuple(from_json(SuiteResult, result) for result in results if result is not None)
