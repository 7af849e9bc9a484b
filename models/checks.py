"""Runs the checks that need the model, beside thresholds and champion."""

from collections.abc import Mapping

import numpy as np

from models.export import Exported
from models.latency import measure
from ratchet.evaluation import cost
from ratchet.lake.snapshot import Examples
from ratchet.lake.split import Side
from ratchet.recipe import Recipe
from ratchet.tasks import parts
from ratchet.types import Check


def model_checks(
    recipe: Recipe, model: Exported, benchmark: Examples, sides: Mapping[Side, Examples], outputs: np.ndarray
) -> list[Check]:
    """The checks of the recipe's task, and cost.

    `outputs` [N, width] are those for the benchmark, and `sides` those of the candidate's snapshot.
    """
    task = parts.evaluation(recipe.answers.task)
    return [*task.model_checks(recipe, model.predict, benchmark, sides, outputs), *_costs(recipe, model)]


def _costs(recipe: Recipe, model: Exported) -> list[Check]:
    criteria, measurement = recipe.criteria, measure(model)
    size_mb = sum(file.stat().st_size for file in model.path.parent.iterdir()) / 1e6
    latency, memory = (measurement.latency_ms, criteria.latency_ms), (measurement.memory_mb, recipe.memory_mb)
    return cost.checks(latency, (size_mb, criteria.size_mb), memory)
