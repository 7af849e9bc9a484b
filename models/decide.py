"""Brings the judge its figures: everyone's answers to the benchmark set, scored again now."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from models import candidate as candidates
from models import explain, registry
from models.judge.baselines import baselines
from models.judge.cost import measured_badly
from models.judge.forecasts import judge_forecasts
from models.judge.slices import parts
from models.judge.verdict import judge
from models.probe import costs, follows, probe
from ratchet import stage
from ratchet.errors import Refusal
from ratchet.files import FORMAT
from ratchet.lake.snapshot import benchmarked, load
from ratchet.recipe import ForecastJudging, Recipe
from ratchet.series import SeriesContract
from ratchet.words import Candidate, Verdict, to_json

VERSION = 3
"""Raise it when the same figures should give another verdict."""


def decide(
    recipe: Recipe, candidate: Candidate, champion: str | None, champions: Iterable[str], scratch: Path
) -> Verdict:
    """The verdict on the candidate; written to MLflow as tags and a file.

    `champions` are all versions that were ever champion.
    """
    held, fingerprint = benchmarked(recipe)
    best = _best(recipe, fingerprint, champion, champions)

    def work() -> Verdict:
        scored = {v: _answers(recipe, v, held.inputs, scratch) for v in {champion, best} if v is not None}
        model = candidates.exported(recipe, candidate, scratch)
        mine = model.answers(held.inputs)
        champion_, best_ = ((v, scored[v]) if v else None for v in (champion, best))
        told = recipe.name, candidate.version
        if isinstance(recipe.judging, ForecastJudging):
            past = load(recipe, candidate.snapshot)["train"]
            assert isinstance(recipe.contract, SeriesContract)
            easy = baselines(held.inputs, past.inputs, past.targets, recipe.contract.season)
            spent = [follows(recipe, recipe.judging, model, held.inputs, mine),
                     *costs(recipe.judging, model, recipe.memory_mb)]  # fmt: skip
            masks = parts(recipe.judging.slices, held.inputs, held.targets, ())
            found = judge_forecasts(
                *told, recipe.judging, fingerprint, held.targets, mine, easy, champion_, best_, masks, spent
            )
            explain.keep(candidate, explain.explained(recipe, model, held, mine, past))
            return found
        sides = load(recipe, candidate.snapshot)
        further = probe(recipe, recipe.judging, model, held, sides, mine, champion_[1] if champion_ else None)
        found = judge(*told, recipe.judging, fingerprint, held.targets, mine, champion_, best_, recipe.classes, further)
        explain.keep(candidate, explain.explained(recipe, model, held, mine, sides["train"]))
        return found

    judging = {**asdict(recipe.judging), "memory": recipe.memory_mb, "shown": recipe.show_inputs}
    key = stage.key("judge", VERSION, recipe=recipe.name, version=candidate.version, weights=candidate.weights,
                    onnx=candidate.packaged, champion=champion, best=best, benchmark=fingerprint,
                    judging=judging)  # fmt: skip
    # A busy moment must not refuse it for good.
    verdict, _ = stage.run(key, Verdict, work, source=judge, still=lambda v: not measured_badly(v.checks))
    _write(recipe, candidate, verdict)
    return verdict


def _best(recipe: Recipe, fingerprint: str, champion: str | None, champions: Iterable[str]) -> str | None:
    """The champion that did best on this benchmark; the present one where none of them was measured on it."""
    measured = {}
    for version in set(champions):
        found = registry.version(recipe.name, version)
        if found and found.tags.get("ratchet.benchmark") == fingerprint:
            measured[version] = float(found.tags[f"ratchet.{recipe.answers.metric}"]) * recipe.answers.better
    return max(measured, key=lambda v: (measured[v], v)) if measured else champion


def _answers(recipe: Recipe, version: str, inputs: np.ndarray, scratch: Path) -> np.ndarray:
    found = registry.version(recipe.name, version)
    if found is None:
        raise Refusal(
            f"MLflow has no version {version} to compare with", recipe.name, "Restore it, or roll back to another"
        )
    return candidates.exported(recipe, found, scratch).answers(inputs)


def _write(recipe: Recipe, candidate: Candidate, verdict: Verdict) -> None:
    registry.upload(
        registry.beside(candidate, "verdict.json"), json.dumps({"format": FORMAT, **to_json(verdict)}, indent=1)
    )
    metric = recipe.answers.metric
    figure = next((c.figure for c in verdict.checks if c.name == metric.replace("_", " ")), None)
    tags = {
        "ratchet.verdict": "blessed" if verdict.blessed else "not blessed", "ratchet.verdict_why": verdict.why,
        "ratchet.benchmark": verdict.benchmark, f"ratchet.{metric}": json.dumps(figure),
    }  # fmt: skip
    for name, value in tags.items():
        registry.set_tag(candidate.recipe, candidate.version, name, value)
