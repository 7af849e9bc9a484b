"""Runs the checks that need the model or the training data, beside thresholds and champion."""

from collections.abc import Mapping

import numpy as np

from models.evaluation import behaviour, calibration, cost, fairness, leakage, privacy
from models.export import Exported
from models.latency import measure
from ratchet.kinds import parts
from ratchet.lake.snapshot import Examples
from ratchet.lake.split import Side
from ratchet.recipe import Criteria, ForecastCriteria, Recipe
from ratchet.types import Check

_MAX_RECORDS = 2000
"""Records that are perturbed, and records of each side of the membership attack."""


def model_checks(
    recipe: Recipe, model: Exported, benchmark: Examples, sides: Mapping[Side, Examples], outputs: np.ndarray
) -> list[Check]:
    """Calibration, behaviour, fairness, leakage, privacy and cost.

    `outputs` [N, width] are those for the benchmark, and `sides` those of the candidate's snapshot.
    """
    criteria = recipe.criteria
    if isinstance(criteria, ForecastCriteria):
        return [_follows_level(recipe, criteria, model, benchmark.inputs, outputs), *_costs(recipe, model)]
    labels, predicted = benchmark.targets, outputs.argmax(axis=1)
    return [
        calibration.check(labels, outputs, criteria.calibration),
        *_behaviour(recipe, criteria, model, benchmark, outputs),
        *fairness.checks(criteria.fairness, recipe.groups, recipe.classes, labels, predicted, benchmark.groups),
        _near_duplicates(recipe, criteria, benchmark, sides["train"], predicted == labels),
        leakage.label_errors(labels, outputs, benchmark.records, criteria.label_errors),
        _membership(criteria, model, sides),
        *_costs(recipe, model),
    ]


def _costs(recipe: Recipe, model: Exported) -> list[Check]:
    criteria, measurement = recipe.criteria, measure(model)
    size_mb = sum(file.stat().st_size for file in model.path.parent.iterdir()) / 1e6
    latency, memory = (measurement.latency_ms, criteria.latency_ms), (measurement.memory_mb, recipe.memory_mb)
    return cost.checks(latency, (size_mb, criteria.size_mb), memory)


def _behaviour(
    recipe: Recipe, criteria: Criteria, model: Exported, benchmark: Examples, outputs: np.ndarray
) -> list[Check]:
    if not (criteria.invariance or criteria.robustness or criteria.directional or criteria.examples):
        return [Check("behaviour", None, None, "skipped", "the recipe names no perturbation and no example")]
    sample = _sample(len(benchmark))
    inputs, labels, before = benchmark.inputs[sample], benchmark.targets[sample], outputs[sample]
    kind = parts.evaluation(recipe.contract.kind)
    names = {**criteria.invariance, **criteria.robustness}
    after = {name: model.predict(kind.PERTURBATIONS[name](inputs)) for name in names}
    checks = [behaviour.invariance(name, before, after[name], share) for name, share in criteria.invariance.items()]
    checks += [
        behaviour.robustness(recipe.answers, name, labels, before, after[name], loss)
        for name, loss in criteria.robustness.items()
    ]
    for words, class_ in criteria.directional.items():
        assert kind.prefixed, "a recipe is checked when it is read"
        changed = model.predict(kind.prefixed(recipe.contract, words, inputs))
        column = recipe.classes.index(class_)
        checks.append(behaviour.directional(words, class_, before[:, column], changed[:, column]))
    for text, class_ in criteria.examples.items():
        (output,) = model.predict(recipe.contract.read([text]))
        predicted = recipe.classes[int(output.argmax())]
        checks.append(behaviour.minimum_functionality(text, class_, predicted, float(output.max())))
    return checks


def _near_duplicates(
    recipe: Recipe, criteria: Criteria, benchmark: Examples, trained: Examples, right: np.ndarray
) -> Check:
    if criteria.near_duplicates is None:
        return leakage.near_duplicates(np.zeros(1, bool), right, None)
    sample = _sample(len(benchmark))
    find_near = parts.evaluation(recipe.contract.kind).near
    assert find_near, "a recipe is checked when it is read"
    near = find_near(benchmark.inputs[sample], trained.inputs)
    return leakage.near_duplicates(near, right[sample], criteria.near_duplicates)


def _follows_level(
    recipe: Recipe, criteria: ForecastCriteria, model: Exported, inputs: np.ndarray, outputs: np.ndarray
) -> Check:
    """Whether forecasts [N, horizon] rise if their windows [N, window] are raised by a twentieth of the range."""
    name = "directional: follows the level"
    if criteria.directional is None:
        return Check(name, None, None, "skipped", "the recipe sets no limit")
    raisable, raised, shift = parts.forecasting(recipe.contract.kind).raised(recipe.contract, inputs)
    if not raisable.any():
        return Check(name, None, criteria.directional, "inconclusive", "no window can be raised within the range")
    return behaviour.follows_level(outputs[raisable], model.predict(raised), shift, criteria.directional)


def _membership(criteria: Criteria, model: Exported, sides: Mapping[Side, Examples]) -> Check:
    """Against the held-out sides of the same snapshot: other data would also differ by its age."""
    if criteria.membership is None:
        return privacy.check(np.zeros(0), np.zeros(0), None)
    others = [_likelihood(model, sides[side]) for side in ("validation", "test")]
    return privacy.check(_likelihood(model, sides["train"]), np.concatenate(others), criteria.membership)


def _likelihood(model: Exported, side: Examples) -> np.ndarray:
    """The probabilities of the true labels of a sample of the side's records, [M]."""
    sample = _sample(len(side))
    return model.predict(side.inputs[sample])[np.arange(len(sample)), side.targets[sample]]


def _sample(count: int) -> np.ndarray:
    """Indices of up to `_MAX_RECORDS` records, at random and always the same."""
    return np.random.default_rng(0).permutation(count)[:_MAX_RECORDS]
