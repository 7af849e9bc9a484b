"""The dossier of a version: put together from what each stage left, and kept where people look."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from prefect.artifacts import create_markdown_artifact

from expectations.drift import Summary, since, summary
from ratchet import dossier
from ratchet.files import keep, kept
from ratchet.lake import ingest as lake
from ratchet.recipe import Recipe
from ratchet.recipe import load as load_recipe
from ratchet.words import Candidate, Drift, Lineage, Snapshot, SuiteResult, Verdict, from_json, to_json


def tell(candidate: Candidate, verdict: Verdict) -> None:
    """Keeps the dossier beside the version in MLflow, blessed or not, and as an artifact of this run."""
    from models import registry

    told = of(candidate, verdict)
    registry.upload(registry.beside(candidate, dossier.DATA), json.dumps(told, indent=1))
    registry.upload(registry.beside(candidate, dossier.PAGE), dossier.page(told))
    create_markdown_artifact(dossier.markdown(told), key=f"dossier-{candidate.recipe}")


def of(candidate: Candidate, verdict: Verdict) -> dict[str, Any]:
    from models import candidate as candidates
    from models import explain, registry

    recipe, suites = load_recipe(candidate.recipe), suites_of(candidate.recipe, candidate.snapshot)
    whole = registry.page(candidate)
    drifted = drift(recipe, candidate, verdict.champion)
    twins = tuple(candidates.twins(candidate))
    lineage = Lineage(candidate, verdict, suites, drifted, twins, whole)
    return dossier.render(recipe, lineage, explain.read(candidate))


def drift(recipe: Recipe, candidate: Candidate, champion: str | None) -> tuple[Drift, ...]:
    """Of the batches that the champion was not trained on, against those that it was."""
    from models import candidate as candidates
    from models import registry

    known = registry.version(recipe.name, champion) if champion else None
    if known is None:
        return ()
    older = set(candidates.read(known).snapshot.batches)
    summed = {batch: summary_of(recipe, batch) for batch in older | set(candidate.snapshot.batches)}
    return since([summed[b] for b in sorted(older)], [s for b, s in sorted(summed.items()) if b not in older])


def summary_of(recipe: Recipe, batch: str) -> Summary:
    """The figures of an admitted batch: kept when the suite ran; made now for one of before."""
    from expectations import statistics

    if found := kept(_summary(recipe, batch)):
        return from_json(Summary, found)
    return summary(statistics.of_batch(recipe, lake.lake(recipe.name), batch, "records"))


def _summary(recipe: Recipe, batch: str) -> Path:
    return lake.lake(recipe.name) / "summaries" / f"{batch}.json"


def suite_result(recipe: Recipe, batch: str) -> SuiteResult:
    """Runs the suite on a landed batch; keeps what it found, and the batch's figures in short."""
    from expectations import checkpoint, statistics
    from expectations.suite import suite

    home = lake.lake(recipe.name)
    figures = statistics.of_batch(recipe, home, batch)
    result = checkpoint.check(recipe.name, batch, figures, suite(recipe))
    keep(home / "suites" / f"{batch}.json", to_json(result))
    keep(_summary(recipe, batch), to_json(summary(figures)))
    return result


def suites_of(name: str, snapshot: Snapshot) -> tuple[SuiteResult, ...]:
    found = (kept(lake.lake(name) / "suites" / f"{batch}.json") for batch in snapshot.batches)
    return tuple(from_json(SuiteResult, result) for result in found if result is not None)
