"""The checks of predictions of several labels: thresholds, the best constant; and what is explained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ratchet.evaluation import comparison, thresholds
from ratchet.evaluation.comparison import Margin, losses_of
from ratchet.evaluation.thirds import Masks
from ratchet.tasks.multilabel.answers import MultiLabel, present
from ratchet.tasks.multilabel.criteria import MultiLabelCriteria
from ratchet.tasks.parts import Described, Predict
from ratchet.types import Bins, Check

if TYPE_CHECKING:
    from ratchet.lake.snapshot import Examples
    from ratchet.lake.split import Side
    from ratchet.recipe import Recipe

CONSTANT = "the labels of most records"


def _by_label(answers: MultiLabel, targets: np.ndarray) -> Masks:
    return {f"label {name}": targets[:, number] > 0 for number, name in enumerate(answers.labels)}


SLICES: Mapping[str, Callable[[Any, np.ndarray], Masks]] = {"label": _by_label}


def margin(answers: MultiLabel, value: float, min_records: int = 1) -> Margin:
    """A difference in the share of wrong labels."""
    return Margin(value, min_blocks=min_records)


def benchmark_checks(recipe: Recipe, benchmark: Examples, outputs: np.ndarray, trained: Examples) -> list[Check]:
    """Minimum accuracy, F1 and average precision, and the comparison with the best constant."""
    answers, criteria, targets = recipe.answers, recipe.criteria, benchmark.targets
    assert isinstance(answers, MultiLabel)
    assert isinstance(criteria, MultiLabelCriteria)
    checks = thresholds.labels(
        {
            "binary accuracy": criteria.accuracy,
            "F1": criteria.f1,
            "F1 of the worst label": criteria.worst_label,
            "average precision": criteria.average_precision,
        },
        answers.labels,
        targets,
        present(outputs),
        None if losses_of(answers, targets, outputs) is None else outputs,
    )
    if not criteria.better_than_constant:
        return [*checks, Check(f"better than {CONSTANT}", None, None, "skipped", "the recipe does not require it")]
    constant = np.tile(constants(answers, trained.targets), (len(targets), 1))
    losses, others = (losses_of(answers, targets, each) for each in (outputs, constant))
    smaller = Margin(0.0, must_be_smaller=True)
    return [*checks, comparison.no_worse(f"better than {CONSTANT}", smaller, losses, others, CONSTANT)]


def model_checks(
    recipe: Recipe, predict: Predict, benchmark: Examples, sides: Mapping[Side, Examples], outputs: np.ndarray
) -> list[Check]:
    return []


def simple_models(recipe: Recipe, benchmark: Examples, trained: Examples) -> Mapping[str, np.ndarray]:
    """A constant is the only one."""
    return {}


def constants(answers: MultiLabel, targets: np.ndarray) -> np.ndarray:
    """The labels that at least half of the records have, [1, labels]."""
    return (targets.mean(axis=0, keepdims=True) >= 0.5).astype(float)


def reliability(answers: MultiLabel, targets: np.ndarray, outputs: np.ndarray) -> Bins:
    return ()


def explained(answers: MultiLabel, targets: np.ndarray, outputs: np.ndarray, count: int) -> Mapping[str, list[int]]:
    """Predictions without an error, and those with the most."""
    losses = answers.losses(targets, outputs)
    order = np.argsort(losses, kind="stable")
    half = count // 2
    right, wrong = order[losses[order] == 0][:half], order[::-1][losses[order[::-1]] > 0][:half]
    return {"right": right.tolist(), "wrong": wrong.tolist()}


def examples(recipe: Recipe) -> Sequence[tuple[np.ndarray, Any]]:
    return ()


def described(recipe: Recipe, input: np.ndarray, output: np.ndarray, target: Any) -> Described:
    truth = "" if target is None else recipe.answers.describe_target(target)
    return Described(recipe.contract.render(input), recipe.answers.describe(output), truth)
