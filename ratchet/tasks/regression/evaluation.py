"""The checks of predicted numbers: a threshold, the best constant, bias; and what is explained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ratchet.evaluation import thresholds
from ratchet.evaluation.bootstrap import mean
from ratchet.evaluation.comparison import Margin, losses_of
from ratchet.evaluation.thirds import Masks, thirds
from ratchet.tasks.parts import Described, Predict
from ratchet.tasks.regression.answers import Regression
from ratchet.tasks.regression.criteria import RegressionCriteria
from ratchet.types import Bins, Check, Outcome

if TYPE_CHECKING:
    from ratchet.lake.snapshot import Examples
    from ratchet.lake.split import Side
    from ratchet.recipe import Recipe

CONSTANT = "the best constant"


def _thirds(answers: Regression, targets: np.ndarray) -> Masks:
    return thirds(targets[:, 0], "target")


SLICES: Mapping[str, Callable[[Any, np.ndarray], Masks]] = {"target": _thirds}


def margin(answers: Regression, value: float, min_records: int = 1) -> Margin:
    """A share of the error."""
    return Margin(value, relative=True, min_blocks=min_records)


def benchmark_checks(recipe: Recipe, benchmark: Examples, outputs: np.ndarray, trained: Examples) -> list[Check]:
    """Maximum error, and the comparison with the constant that has the smallest error on the training side."""
    answers, criteria = recipe.answers, recipe.criteria
    assert isinstance(answers, Regression)
    assert isinstance(criteria, RegressionCriteria)
    best = trained.targets.mean() if answers.squared else np.median(trained.targets)
    constant = {CONSTANT: np.full((len(benchmark), 1), best)} if criteria.better_than_constant else {}
    margins = {CONSTANT: replace(margin(answers, 0.0), must_be_smaller=True)}
    name = answers.metric.replace("_", " ")
    return thresholds.numbers(name, criteria.error, answers, benchmark.targets, outputs, constant, margins)


def model_checks(
    recipe: Recipe, predict: Predict, benchmark: Examples, sides: Mapping[Side, Examples], outputs: np.ndarray
) -> list[Check]:
    """Whether predictions are too high or too low on average."""
    answers, criteria = recipe.answers, recipe.criteria
    assert isinstance(answers, Regression)
    assert isinstance(criteria, RegressionCriteria)
    if criteria.bias is None:
        return [Check("bias", None, None, "skipped", "the recipe sets no limit")]
    if losses_of(answers, benchmark.targets, outputs) is None:
        return [Check("bias", None, criteria.bias, "error", "some outputs are missing or not finite")]
    value, low, high = mean(outputs[:, 0] - benchmark.targets[:, 0])
    passed, failed = max(-low, high) <= criteria.bias, abs(value) > criteria.bias
    outcome: Outcome = "passed" if passed else "failed" if failed else "inconclusive"
    detail = f"predictions are off by {value:+.4g} on average (95 % from {low:+.4g} to {high:+.4g})"
    return [Check("bias", value, criteria.bias, outcome, detail, low, high)]


def simple_models(recipe: Recipe, benchmark: Examples, trained: Examples) -> Mapping[str, np.ndarray]:
    """A constant is the only one."""
    return {}


def constants(answers: Regression, targets: np.ndarray) -> np.ndarray:
    """Quantiles of the targets."""
    return np.unique(np.quantile(targets, np.linspace(0.01, 0.99, 99)))[:, None]


def reliability(answers: Regression, targets: np.ndarray, outputs: np.ndarray) -> Bins:
    return ()


def explained(answers: Regression, targets: np.ndarray, outputs: np.ndarray, count: int) -> Mapping[str, list[int]]:
    """Predictions with a typical error, and those farthest off."""
    order = np.argsort(answers.losses(targets, outputs), kind="stable")
    half = count // 2
    return {"typical": order[len(order) // 2 :][:half].tolist(), "worst": order[::-1][:half].tolist()}


def examples(recipe: Recipe) -> Sequence[tuple[np.ndarray, Any]]:
    return ()


def described(recipe: Recipe, input: np.ndarray, output: np.ndarray, target: Any) -> Described:
    truth = "" if target is None else recipe.answers.describe_target(target)
    return Described(recipe.contract.render(input), recipe.answers.describe(output), truth)
