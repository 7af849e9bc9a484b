"""Explains some predictions, right and wrong ones. No raw input is shown if the recipe does not allow it."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from models import registry
from models.evaluation.leakage import suspects
from models.export import Exported
from ratchet.attribution import Attribution, attribute
from ratchet.files import FORMAT
from ratchet.lake.snapshot import Examples
from ratchet.recipe import Criteria, Recipe
from ratchet.types import Candidate

Predict = Callable[[np.ndarray], np.ndarray]
COUNT = 4
"""Explanations of each kind."""
ARTIFACT = "explanations.json"


@dataclass(frozen=True)
class Explanation:
    """One prediction, and its attribution to the regions of its input."""

    kind: str
    """`right`, `wrong`, `suspect label`, `typical` or `worst`; or `example` and `synthetic` without raw inputs."""
    input: str
    """A PNG as a data URI, a text, or JSON of a window, its forecast and the actual values."""
    prediction: str
    truth: str
    """Empty if it is unknown."""
    attributions: tuple[Attribution, ...]


def save(candidate: Candidate, explanations: tuple[Explanation, ...]) -> None:
    content = {"format": FORMAT, "explanations": [asdict(explanation) for explanation in explanations]}
    registry.upload(registry.path_of(candidate, ARTIFACT), json.dumps(content))


def read(candidate: Candidate) -> list[dict[str, Any]]:
    """What `save` wrote; empty for a version that was not evaluated."""
    path = registry.path_of(candidate, ARTIFACT)
    return list(registry.read_json(path)["explanations"]) if registry.has(path) else []


def explain(
    recipe: Recipe, model: Exported, benchmark: Examples, outputs: np.ndarray, trained: Examples
) -> tuple[Explanation, ...]:
    """Explanations of the benchmark's outputs [N, width], or of examples and synthetic inputs like those `trained` on.

    The wrong ones are the worst: the most confident predictions of a wrong class, or the forecasts farthest off.
    """
    predict = model.session()
    if not recipe.show_inputs:
        return tuple(_without_raw_inputs(recipe, predict, trained))
    if recipe.classes:
        confidence, right = outputs.max(axis=1), outputs.argmax(axis=1) == benchmark.targets
        chosen = {
            "right": _most_confident(np.flatnonzero(right), confidence, benchmark.targets),
            "wrong": _most_confident(np.flatnonzero(~right), confidence, benchmark.targets),
            "suspect label": suspects(benchmark.targets, outputs)[:COUNT].tolist(),
        }
    else:
        order = np.argsort(recipe.answers.losses(benchmark.targets, outputs), kind="stable")
        typical, worst = order[len(order) // 2 :], order[::-1]
        chosen = {"typical": _apart(typical, outputs.shape[1]), "worst": _apart(worst, outputs.shape[1])}
    return tuple(
        _explanation(recipe, predict, kind, benchmark.inputs[i : i + 1], benchmark.targets[i])
        for kind, indices in chosen.items()
        for i in indices
    )


def _most_confident(indices: np.ndarray, confidence: np.ndarray, labels: np.ndarray) -> list[int]:
    """The most confident predictions among these records, each of another class."""
    by_class: dict[int, int] = {}
    for i in indices[np.argsort(-confidence[indices], kind="stable")]:
        by_class.setdefault(int(labels[i]), int(i))
    return list(by_class.values())[:COUNT]


def _apart(order: np.ndarray, steps: int) -> list[int]:
    """The first of these windows that are more than so many steps apart."""
    chosen: list[int] = []
    for i in map(int, order):
        if all(abs(i - j) > steps for j in chosen):
            chosen.append(i)
    return chosen[: COUNT // 2]


def _without_raw_inputs(recipe: Recipe, predict: Predict, trained: Examples) -> list[Explanation]:
    """The recipe's own examples, and synthetic inputs like those of each class."""
    criteria = recipe.criteria
    examples = criteria.examples if isinstance(criteria, Criteria) else {}
    explanations = [
        _explanation(recipe, predict, "example", recipe.contract.read([text]), recipe.classes.index(class_))
        for text, class_ in list(examples.items())[:COUNT]
    ]
    rng = np.random.default_rng(0)
    for like in trained.by_class(len(recipe.classes))[:COUNT]:
        input = recipe.contract.synthesize(1, rng, like)
        explanations.append(_explanation(recipe, predict, "synthetic", input, None))
    return explanations


def _explanation(recipe: Recipe, predict: Predict, kind: str, input: np.ndarray, truth: Any) -> Explanation:
    output, attributions = attribute(recipe.contract, recipe.answers, predict, input)
    if not recipe.classes:
        actual = [] if truth is None else truth.tolist()
        series = {"window": input[0].tolist(), "forecast": output.tolist(), "actual": actual}
        rounded = {name: [round(float(value), 3) for value in values] for name, values in series.items()}
        error = "" if truth is None else f"root mean square error {np.sqrt(np.mean((output - truth) ** 2)):.2f}"
        return Explanation(kind, json.dumps(rounded), error, "", attributions)
    prediction = f"{recipe.classes[int(output.argmax())]} ({output.max():.1%})"
    label = "" if truth is None else recipe.classes[int(truth)]
    return Explanation(kind, recipe.contract.render(input), prediction, label, attributions)
