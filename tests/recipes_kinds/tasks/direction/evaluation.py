"""The check of directions: a threshold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from ratchet.tasks.direction.answers import Direction

from ratchet.evaluation.comparison import Margin
from ratchet.evaluation.thirds import Masks
from ratchet.evaluation.thresholds import at_least
from ratchet.tasks.parts import Described, Predict
from ratchet.types import Bins, Check

if TYPE_CHECKING:
    from ratchet.lake.snapshot import Examples
    from ratchet.lake.split import Side
    from ratchet.recipe import Recipe

SLICES: Mapping[str, Callable[[Any, np.ndarray], Masks]] = {}


def margin(answers: Direction, value: float, min_records: int = 1) -> Margin:
    return Margin(value, min_blocks=min_records)


def benchmark_checks(recipe: Recipe, benchmark: Examples, outputs: np.ndarray, trained: Examples) -> list[Check]:
    similarity = recipe.answers.score(benchmark.targets, outputs)
    return [at_least("cosine similarity", similarity, recipe.criteria.similarity, role="metric")]


def model_checks(
    recipe: Recipe, predict: Predict, benchmark: Examples, sides: Mapping[Side, Examples], outputs: np.ndarray
) -> list[Check]:
    return []


def simple_models(recipe: Recipe, benchmark: Examples, trained: Examples) -> Mapping[str, np.ndarray]:
    return {}


def constants(answers: Direction, targets: np.ndarray) -> np.ndarray:
    return np.zeros((0, 2))


def reliability(answers: Direction, targets: np.ndarray, outputs: np.ndarray) -> Bins:
    return ()


def explained(answers: Direction, targets: np.ndarray, outputs: np.ndarray, count: int) -> Mapping[str, list[int]]:
    return {"worst": np.argsort(-answers.losses(targets, outputs))[:count].tolist()}


def examples(recipe: Recipe) -> Sequence[tuple[np.ndarray, Any]]:
    return ()


def described(recipe: Recipe, input: np.ndarray, output: np.ndarray, target: Any) -> Described:
    truth = "" if target is None else recipe.answers.describe_target(target)
    return Described(recipe.contract.render(input), recipe.answers.describe(output), truth)
