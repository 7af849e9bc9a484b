"""Is a former champion better at what callers send now? Both are scored on the same labelled inputs."""

import numpy as np

from models.evaluate import outputs_of
from ratchet.evaluation.bootstrap import difference
from ratchet.evaluation.comparison import losses_of
from ratchet.lake import served
from ratchet.recipe import Recipe
from ratchet.tasks import parts as tasks
from ratchet.types import Package

LEAST = 100
"""Labelled inputs below which nothing is said."""
_MOST = 2000


def why_better(recipe: Recipe, champion: Package, former: Package, since: float) -> str:
    """What shows that a former champion's loss is smaller on the newest inputs of the champion; empty if nothing does.

    The whole interval of the paired difference must be below 0. Drift does not look like a bad release in this, since
    both answer the same inputs, which came since the champion was promoted: neither was trained on them. Raises Refusal
    if nobody has one of the packages any more.
    """
    labelled = served.labelled_inputs(recipe, champion.revision, since, _MOST)
    if labelled is None or len(labelled[1]) < LEAST:
        return ""
    inputs, labels = labelled
    answers = recipe.answers
    targets = tasks.labels(answers.task).targets(answers, np.array([answers.read_label(label) for label in labels]))
    own, other = (losses_of(answers, targets, outputs_of(each, inputs)) for each in (champion, former))
    if own is None or other is None:  # the recipe had another task then
        return ""
    value, low, high = difference(other, own)
    if high >= 0:
        return ""
    figures = f"{value:+.4f} (95 % from {low:+.4f} to {high:+.4f})"
    losses = f"{other.mean():.4f}, and {own.mean():.4f} for version {champion.version}"
    return f"its loss on {len(labels)} labelled inputs is {losses}: {figures}"
