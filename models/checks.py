"""Runs the checks that need the model or the training data, beside thresholds and champion."""

from collections.abc import Mapping

import numpy as np

from models.export import Exported
from models.latency import measure
from ratchet.evaluation import association, cost, leakage
from ratchet.kinds import parts as kinds
from ratchet.lake.snapshot import Examples
from ratchet.lake.split import Side
from ratchet.recipe import Recipe
from ratchet.tasks import parts as tasks
from ratchet.types import Check

_MAX_RECORDS = 20_000
"""Records by which a column, and what training has not seen, are measured."""


def model_checks(
    recipe: Recipe, model: Exported, benchmark: Examples, sides: Mapping[Side, Examples], outputs: np.ndarray
) -> list[Check]:
    """The checks of the recipe's task, what training has not seen, leakage by one column, and cost.

    `outputs` [N, width] are those for the benchmark, and `sides` those of the candidate's snapshot.
    """
    task = tasks.evaluation(recipe.answers.task)
    return [
        *task.model_checks(recipe, model.predict, benchmark, sides, outputs),
        *_unseen(recipe, model, benchmark),
        *_one_column(recipe, sides["train"]),
        *_costs(recipe, model),
    ]


def _unseen(recipe: Recipe, model: Exported, benchmark: Examples) -> list[Check]:
    """For a kind of input with a vocabulary."""
    inputs = benchmark.inputs[:_MAX_RECORDS]
    share = kinds.evaluation(recipe.contract.kind).unseen(recipe.contract, inputs, model.vocabulary)
    return [leakage.unseen(*share, recipe.criteria.unseen)] if share else []


def _one_column(recipe: Recipe, trained: Examples) -> list[Check]:
    """For a kind of input with columns."""
    answers, limit = recipe.answers, recipe.criteria.one_column
    sample = np.random.default_rng(0).permutation(len(trained))[:_MAX_RECORDS]
    targets = trained.targets[sample]
    columns = kinds.evaluation(recipe.contract.kind).columns(recipe.contract, trained.inputs[sample])
    outputs = tasks.evaluation(answers.task).constants(answers, targets)
    if not columns or not len(outputs):
        return []
    if limit is None:
        return [leakage.one_column({}, None)]
    losses = np.stack([answers.losses(targets, np.tile(output, (len(targets), 1))) for output in outputs], axis=1)
    shares = {name: association.explained(association.bins(values), losses) for name, values in columns.items()}
    return [leakage.one_column(shares, limit)]


def _costs(recipe: Recipe, model: Exported) -> list[Check]:
    criteria, measurement = recipe.criteria, measure(model)
    size_mb = sum(file.stat().st_size for file in model.path.parent.iterdir()) / 1e6
    latency, memory = (measurement.latency_ms, criteria.latency_ms), (measurement.memory_mb, recipe.memory_mb)
    return cost.checks(latency, (size_mb, criteria.size_mb), memory)
