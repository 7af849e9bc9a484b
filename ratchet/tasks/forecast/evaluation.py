"""The checks of forecasts: a threshold, simple baselines, the level; and what is explained."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ratchet.evaluation import behaviour, thresholds
from ratchet.evaluation.baselines import LINEAR, SEASONAL_NAIVE, baselines
from ratchet.evaluation.comparison import Margin
from ratchet.evaluation.thirds import Masks
from ratchet.kinds import parts
from ratchet.tasks.forecast.answers import Forecast
from ratchet.tasks.forecast.criteria import ForecastCriteria
from ratchet.tasks.parts import Described, Predict
from ratchet.types import Bins, Check

if TYPE_CHECKING:
    from ratchet.lake.snapshot import Examples
    from ratchet.lake.split import Side
    from ratchet.recipe import Recipe

SLICES: Mapping[str, Callable[[Any, np.ndarray], Masks]] = {}
_MIN_BLOCKS = 10
"""Blocks of windows below which an interval means nothing."""


def margin(answers: Forecast, value: float, min_records: int = 1) -> Margin:
    """A share of the error, by blocks of two horizons."""
    return Margin(value, relative=True, block=2 * answers.width, min_blocks=_MIN_BLOCKS)


def benchmark_checks(recipe: Recipe, benchmark: Examples, outputs: np.ndarray, trained: Examples) -> list[Check]:
    """Maximum mean squared error, and the comparison with the baselines."""
    answers, criteria = recipe.answers, recipe.criteria
    assert isinstance(answers, Forecast)
    assert isinstance(criteria, ForecastCriteria)
    simple = simple_models(recipe, benchmark, trained)
    strict = criteria.linear == 0
    linear = replace(margin(answers, criteria.linear), must_be_smaller=strict, inclusive=not strict)
    margins = {SEASONAL_NAIVE: replace(margin(answers, 0.0), must_be_smaller=True), LINEAR: linear}
    limit = criteria.squared_error
    return thresholds.numbers("mean squared error", limit, answers, benchmark.targets, outputs, simple, margins)


def model_checks(
    recipe: Recipe, predict: Predict, benchmark: Examples, sides: Mapping[Side, Examples], outputs: np.ndarray
) -> list[Check]:
    """Whether forecasts [N, horizon] rise if their windows [N, window] are raised by a twentieth of the range."""
    criteria, name = recipe.criteria, "directional: follows the level"
    assert isinstance(criteria, ForecastCriteria)
    if criteria.directional is None:
        return [Check(name, None, None, "skipped", "the recipe sets no limit")]
    raisable, raised, shift = parts.forecasting(recipe.contract.kind).raised(recipe.contract, benchmark.inputs)
    if not raisable.any():
        return [Check(name, None, criteria.directional, "inconclusive", "no window can be raised within the range")]
    return [behaviour.follows_level(outputs[raisable], predict(raised), shift, criteria.directional)]


def simple_models(recipe: Recipe, benchmark: Examples, trained: Examples) -> Mapping[str, np.ndarray]:
    """The seasonal-naive and the linear baseline."""
    kind, contract = parts.forecasting(recipe.contract.kind), recipe.contract
    windows, past = (kind.filled(contract, examples.inputs) for examples in (benchmark, trained))
    return baselines(windows, past, trained.targets, kind.season(contract))


def constants(answers: Forecast, targets: np.ndarray) -> np.ndarray:
    return np.zeros((0, answers.width))


def reliability(answers: Forecast, targets: np.ndarray, outputs: np.ndarray) -> Bins:
    return ()


def explained(answers: Forecast, targets: np.ndarray, outputs: np.ndarray, count: int) -> Mapping[str, list[int]]:
    """Forecasts with a typical error and those farthest off, each more than a horizon from the others."""
    order = np.argsort(answers.losses(targets, outputs), kind="stable")
    typical, worst = order[len(order) // 2 :], order[::-1]
    return {
        "typical": _apart(typical, answers.horizon, count // 2),
        "worst": _apart(worst, answers.horizon, count // 2),
    }


def _apart(order: np.ndarray, steps: int, count: int) -> list[int]:
    """The first of these windows that are more than so many steps apart."""
    chosen: list[int] = []
    for i in map(int, order):
        if all(abs(i - j) > steps for j in chosen):
            chosen.append(i)
    return chosen[:count]


def examples(recipe: Recipe) -> Sequence[tuple[np.ndarray, Any]]:
    return ()


def described(recipe: Recipe, input: np.ndarray, output: np.ndarray, target: Any) -> Described:
    """The window, its forecast and the actual values as JSON; its error as the prediction."""
    actual = [] if target is None else target.tolist()
    window = json.loads(recipe.contract.render(input))
    series = {"window": window, "forecast": output.tolist(), "actual": actual}
    rounded = {name: [round(float(value), 3) for value in values] for name, values in series.items()}
    error = "" if target is None else f"root mean square error {np.sqrt(np.mean((output - target) ** 2)):.2f}"
    return Described(json.dumps(rounded), error, "")
