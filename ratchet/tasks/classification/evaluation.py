"""The checks of predictions of classes: thresholds, behaviour, fairness, leakage, privacy; and what is explained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ratchet.evaluation import behaviour, calibration, comparison, fairness, leakage, privacy, thresholds
from ratchet.evaluation.calibration import reliability as bins
from ratchet.evaluation.comparison import Margin, losses_of
from ratchet.evaluation.thirds import Masks
from ratchet.kinds import parts
from ratchet.tasks.classification.answers import Classification
from ratchet.tasks.classification.criteria import Criteria
from ratchet.tasks.parts import Described, Predict
from ratchet.types import Bins, Check

if TYPE_CHECKING:
    from ratchet.lake.snapshot import Examples
    from ratchet.lake.split import Side
    from ratchet.recipe import Recipe

CONSTANT = "the most frequent class"
_MAX_RECORDS = 2000
"""Records that are perturbed, and records of each side of the membership attack."""


def _by_class(answers: Classification, labels: np.ndarray) -> Masks:
    return {f"class {class_}": labels == number for number, class_ in enumerate(answers.classes)}


SLICES: Mapping[str, Callable[[Any, np.ndarray], Masks]] = {"class": _by_class}


def margin(answers: Classification, value: float, min_records: int = 1) -> Margin:
    """A difference in error rate."""
    return Margin(value, min_blocks=min_records)


def benchmark_checks(recipe: Recipe, benchmark: Examples, outputs: np.ndarray, trained: Examples) -> list[Check]:
    """Minimum accuracy, minimum recall of the worst class, and the comparison with the most frequent class."""
    answers, criteria = recipe.answers, recipe.criteria
    assert isinstance(answers, Classification)
    assert isinstance(criteria, Criteria)
    limits, labels = (criteria.accuracy, criteria.worst_class), benchmark.targets
    checks = thresholds.classes(*limits, answers, labels, outputs, answers.classes)
    checks += thresholds.rare_classes(criteria.balanced_accuracy, criteria.average_precision, answers, labels, outputs)
    if not criteria.better_than_constant:
        return [*checks, Check(f"better than {CONSTANT}", None, None, "skipped", "the recipe does not require it")]
    frequent = np.bincount(trained.targets, minlength=answers.width).argmax()
    constant = np.tile(np.eye(answers.width)[frequent], (len(labels), 1))
    losses, others = (losses_of(answers, labels, each) for each in (outputs, constant))
    baseline = comparison.no_worse(
        f"better than {CONSTANT}", Margin(0.0, must_be_smaller=True), losses, others, CONSTANT
    )
    return [*checks, baseline]


def model_checks(
    recipe: Recipe, predict: Predict, benchmark: Examples, sides: Mapping[Side, Examples], outputs: np.ndarray
) -> list[Check]:
    """Calibration, behaviour, fairness, leakage and privacy."""
    answers, criteria = recipe.answers, recipe.criteria
    assert isinstance(answers, Classification)
    assert isinstance(criteria, Criteria)
    labels, predicted = benchmark.targets, outputs.argmax(axis=1)
    return [
        calibration.check(labels, outputs, criteria.calibration),
        *_behaviour(recipe, answers, criteria, predict, benchmark, outputs),
        *fairness.checks(criteria.fairness, recipe.groups, answers.classes, labels, predicted, benchmark.groups),
        _near_duplicates(recipe, criteria, benchmark, sides["train"], predicted == labels),
        leakage.label_errors(labels, outputs, benchmark.records, criteria.label_errors),
        _membership(criteria, predict, sides),
    ]


def _behaviour(
    recipe: Recipe,
    answers: Classification,
    criteria: Criteria,
    predict: Predict,
    benchmark: Examples,
    outputs: np.ndarray,
) -> list[Check]:
    if not (criteria.invariance or criteria.robustness or criteria.directional or criteria.examples):
        return [Check("behaviour", None, None, "skipped", "the recipe names no perturbation and no example")]
    sample = _sample(len(benchmark))
    inputs, labels, before = benchmark.inputs[sample], benchmark.targets[sample], outputs[sample]
    kind = parts.evaluation(recipe.contract.kind)
    names = {**criteria.invariance, **criteria.robustness}
    after = {name: predict(kind.PERTURBATIONS[name](inputs)) for name in names}
    checks = [behaviour.invariance(name, before, after[name], share) for name, share in criteria.invariance.items()]
    checks += [
        behaviour.robustness(answers, name, labels, before, after[name], loss)
        for name, loss in criteria.robustness.items()
    ]
    for words, class_ in criteria.directional.items():
        assert kind.prefixed, "a recipe is checked when it is read"
        changed = predict(kind.prefixed(recipe.contract, words, inputs))
        column = answers.classes.index(class_)
        checks.append(behaviour.directional(words, class_, before[:, column], changed[:, column]))
    for text, class_ in criteria.examples.items():
        (output,) = predict(recipe.contract.read([text]))
        predicted = answers.classes[int(output.argmax())]
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


def _membership(criteria: Criteria, predict: Predict, sides: Mapping[Side, Examples]) -> Check:
    """Against the held-out sides of the same snapshot: other data would also differ by its age."""
    if criteria.membership is None:
        return privacy.check(np.zeros(0), np.zeros(0), None)
    others = [_likelihood(predict, sides[side]) for side in ("validation", "test")]
    return privacy.check(_likelihood(predict, sides["train"]), np.concatenate(others), criteria.membership)


def _likelihood(predict: Predict, side: Examples) -> np.ndarray:
    """The probabilities of the true labels of a sample of the side's records, [M]."""
    sample = _sample(len(side))
    return predict(side.inputs[sample])[np.arange(len(sample)), side.targets[sample]]


def _sample(count: int) -> np.ndarray:
    """Indices of up to `_MAX_RECORDS` records, at random and always the same."""
    return np.random.default_rng(0).permutation(count)[:_MAX_RECORDS]


def simple_models(recipe: Recipe, benchmark: Examples, trained: Examples) -> Mapping[str, np.ndarray]:
    """A constant is the only one."""
    return {}


def constants(answers: Classification, targets: np.ndarray) -> np.ndarray:
    return np.eye(answers.width)


def reliability(answers: Classification, targets: np.ndarray, outputs: np.ndarray) -> Bins:
    """Accuracy by confidence; empty if there is not one finite output for every record."""
    return () if losses_of(answers, targets, outputs) is None else bins(targets, outputs)


def explained(answers: Classification, targets: np.ndarray, outputs: np.ndarray, count: int) -> Mapping[str, list[int]]:
    """The most confident predictions, right and wrong, each of another class; and labels that are probably wrong."""
    confidence, right = outputs.max(axis=1), outputs.argmax(axis=1) == targets
    return {
        "right": _most_confident(np.flatnonzero(right), confidence, targets)[:count],
        "wrong": _most_confident(np.flatnonzero(~right), confidence, targets)[:count],
        "suspect label": leakage.suspects(targets, outputs)[:count].tolist(),
    }


def _most_confident(indices: np.ndarray, confidence: np.ndarray, labels: np.ndarray) -> list[int]:
    by_class: dict[int, int] = {}
    for i in indices[np.argsort(-confidence[indices], kind="stable")]:
        by_class.setdefault(int(labels[i]), int(i))
    return list(by_class.values())


def examples(recipe: Recipe) -> Sequence[tuple[np.ndarray, Any]]:
    answers, criteria = recipe.answers, recipe.criteria
    assert isinstance(answers, Classification)
    assert isinstance(criteria, Criteria)
    named = criteria.examples.items()
    return [(recipe.contract.read([text]), answers.classes.index(class_)) for text, class_ in named]


def described(recipe: Recipe, input: np.ndarray, output: np.ndarray, target: Any) -> Described:
    answers = recipe.answers
    assert isinstance(answers, Classification)
    prediction = f"{answers.classes[int(output.argmax())]} ({output.max():.1%})"
    return Described(recipe.contract.render(input), prediction, "" if target is None else answers.classes[int(target)])
