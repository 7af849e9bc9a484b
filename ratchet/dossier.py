"""The one document of a version, as plain data: a pure renderer over words."""

from __future__ import annotations

from typing import Any

from ratchet.recipe import Recipe
from ratchet.words import Lineage, to_json


def render(recipe: Recipe, lineage: Lineage) -> dict[str, Any]:
    """What the model is for, its data, its training and the verdict check by check."""
    candidate, verdict = lineage.candidate, lineage.verdict
    return {
        "format": 1,
        "model": {"recipe": recipe.name, "recipe_version": recipe.version, "version": candidate.version,
                  "purpose": recipe.purpose, "classes": list(recipe.classes), "contract": recipe.contract.to_json()},
        "data": {"snapshot": to_json(candidate.snapshot), "suites": [to_json(s) for s in lineage.suites]},
        "training": {"family": candidate.family, "parameters": dict(candidate.parameters),
                     "metrics": dict(candidate.metrics), "seconds": candidate.seconds, "run": candidate.run_id,
                     "weights_sha256": candidate.weights, "onnx_sha256": candidate.onnx,
                     "commit": candidate.commit, "lock_sha256": candidate.lock},
        "verdict": to_json(verdict),
    }  # fmt: skip
