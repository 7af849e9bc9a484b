"""Is a former champion better at what callers send now? Both are scored on the same labelled inputs."""

from dataclasses import dataclass

import numpy as np

from models.evaluate import outputs_of
from ratchet.evaluation.bootstrap import difference
from ratchet.evaluation.comparison import losses_of
from ratchet.lake import served
from ratchet.recipe import Recipe
from ratchet.tasks import parts as tasks
from ratchet.types import Package

_MOST = 2000
_LEVEL = 0.995
"""Of the interval: it is looked at some five times, since labels come one after another."""


@dataclass(frozen=True)
class Labelled:
    inputs: np.ndarray
    """[N, ...] as the contract has them."""
    targets: np.ndarray
    """[N, ...] as the task has them."""

    def __len__(self) -> int:
        return len(self.targets)


def labelled(recipe: Recipe, champion: Package, since: float) -> Labelled | None:
    """The newest labelled inputs that the champion has answered since then; None if none is kept as it was sent."""
    if recipe.log.redact:  # neither would be scored on what callers sent
        return None
    kept = served.labelled_inputs(recipe, champion.revision, since, _MOST)
    if kept is None:
        return None
    answers = recipe.answers
    return Labelled(kept[0], tasks.labels(answers.task).targets(answers, np.array(kept[1])))


def why_better(recipe: Recipe, champion: Package, former: Package, labelled: Labelled) -> str:
    """What shows that a former champion's loss is smaller on these inputs; empty if nothing does.

    The whole interval of the paired difference must be below 0. Drift does not look like a bad release in this, since
    both answer the same inputs, and neither was trained on what came since the champion was promoted. Raises Refusal if
    nobody has one of the packages any more.
    """
    own, other = (losses_of(recipe.answers, labelled.targets, outputs_of(each, labelled.inputs))
                  for each in (champion, former))  # fmt: skip
    if own is None or other is None:  # the recipe had another task then
        return ""
    value, low, high = difference(other, own, level=_LEVEL)
    if high >= 0:
        return ""
    losses = f"{other.mean():.4f}, and {own.mean():.4f} for version {champion.version}"
    figures = f"{value:+.4f} ({_LEVEL:.1%} from {low:+.4f} to {high:+.4f})"
    return f"its loss on {len(labelled)} labelled inputs is {losses}: {figures}"
