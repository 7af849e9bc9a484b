"""Explains some predictions, right and wrong ones. No raw input is shown if the recipe does not allow it."""

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from models import registry
from models.export import Exported
from ratchet.attribution import Attribution, attribute
from ratchet.files import FORMAT
from ratchet.lake.snapshot import Examples
from ratchet.recipe import Recipe
from ratchet.tasks import parts
from ratchet.tasks.parts import Predict
from ratchet.types import Candidate

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

    The wrong ones are the worst: the most confident predictions of a wrong class, or those farthest off.
    """
    predict, task = model.session(), parts.evaluation(recipe.answers.task)
    if not recipe.show_inputs:
        return tuple(_without_raw_inputs(recipe, predict, trained))
    chosen = task.explained(recipe.answers, benchmark.targets, outputs, COUNT)
    return tuple(
        _explanation(recipe, predict, sort, benchmark.inputs[i : i + 1], benchmark.targets[i])
        for sort, indices in chosen.items()
        for i in indices
    )


def _without_raw_inputs(recipe: Recipe, predict: Predict, trained: Examples) -> list[Explanation]:
    """The recipe's own examples, and synthetic inputs like those of each stratum."""
    named = parts.evaluation(recipe.answers.task).examples(recipe)[:COUNT]
    explanations = [_explanation(recipe, predict, "example", input, target) for input, target in named]
    rng = np.random.default_rng(0)
    for mask in recipe.answers.strata(trained.targets)[:COUNT]:
        input = recipe.contract.synthesize(1, rng, trained.inputs[mask])
        explanations.append(_explanation(recipe, predict, "synthetic", input, None))
    return explanations


def _explanation(recipe: Recipe, predict: Predict, sort: str, input: np.ndarray, target: Any) -> Explanation:
    output, attributions = attribute(recipe.contract, recipe.answers, predict, input)
    described = parts.evaluation(recipe.answers.task).described(recipe, input, output, target)
    return Explanation(sort, described.input, described.prediction, described.truth, attributions)
