"""Brings the judge its figures: everyone's answers to the benchmark set, scored again now."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from models import candidate as candidates
from models import export, registry
from models.judge.verdict import judge
from ratchet import stage
from ratchet.errors import Refusal
from ratchet.files import FORMAT
from ratchet.lake.ingest import benchmark
from ratchet.recipe import Recipe
from ratchet.words import Candidate, Verdict, to_json

VERSION = 1
"""Raise it when the same figures should give another verdict."""


def decide(
    recipe: Recipe, candidate: Candidate, champion: str | None, champions: Iterable[str], scratch: Path
) -> Verdict:
    """The verdict on the candidate; written to MLflow as tags and a file.

    `champions` are all versions that were ever champion.
    """
    images, labels, fingerprint = benchmark(recipe)
    best = _best(recipe, fingerprint, champion, champions)

    def work() -> Verdict:
        scored = {v: _scores(recipe, v, images, scratch) for v in {champion, best} if v is not None}
        mine = _scores(recipe, candidate.version, images, scratch)
        return judge(
            recipe.name, candidate.version, recipe.judging, fingerprint, labels, mine,
            (champion, scored[champion]) if champion else None, (best, scored[best]) if best else None,
        )  # fmt: skip

    judging = {
        "accuracy": recipe.judging.accuracy,
        "worst_class": recipe.judging.worst_class,
        "margin": recipe.judging.margin,
    }
    key = stage.key("judge", VERSION, recipe=recipe.name, version=candidate.version, weights=candidate.weights,
                    champion=champion, best=best, benchmark=fingerprint, judging=judging)  # fmt: skip
    verdict, _ = stage.run(key, Verdict, work, source=judge)
    _write(candidate, verdict)
    return verdict


def _best(recipe: Recipe, fingerprint: str, champion: str | None, champions: Iterable[str]) -> str | None:
    """The champion that did best on this benchmark; the present one where none of them was measured on it."""
    measured = {}
    for version in set(champions):
        found = registry.version(recipe.name, version)
        if found and found.tags.get("ratchet.benchmark") == fingerprint:
            measured[version] = float(found.tags["ratchet.accuracy"])
    return max(measured, key=lambda v: (measured[v], v)) if measured else champion


def _scores(recipe: Recipe, version: str, images: np.ndarray, scratch: Path) -> np.ndarray:
    found = registry.version(recipe.name, version)
    if found is None:
        raise Refusal(
            f"MLflow has no version {version} to compare with", recipe.name, "Restore it, or roll back to another"
        )
    return export.scores(candidates.onnx(found, scratch), images)


def _write(candidate: Candidate, verdict: Verdict) -> None:
    registry.upload(
        registry.beside(candidate, "verdict.json"), json.dumps({"format": FORMAT, **to_json(verdict)}, indent=1)
    )
    figure = next((c.figure for c in verdict.checks if c.name == "accuracy"), None)
    tags = {
        "ratchet.verdict": "blessed" if verdict.blessed else "not blessed", "ratchet.verdict_why": verdict.why,
        "ratchet.benchmark": verdict.benchmark, "ratchet.accuracy": json.dumps(figure),
    }  # fmt: skip
    for name, value in tags.items():
        registry.set_tag(candidate.recipe, candidate.version, name, value)
