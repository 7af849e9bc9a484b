"""Slices of a benchmark, by name: a recipe asks for them, and an evaluation compares each. Pure."""

from collections.abc import Sequence

import numpy as np

from ratchet.answers import Answers
from ratchet.evaluation.thirds import Masks, thirds
from ratchet.kinds import parts as kinds
from ratchet.tasks import parts as tasks


def names(kind: str, task: str) -> tuple[str, ...]:
    """The slices that an evaluation of this kind of input and this task can compare."""
    return (*tasks.evaluation(task).SLICES, *kinds.evaluation(kind).PROPERTIES)


def masks(kind: str, answers: Answers, requested: Sequence[str], inputs: np.ndarray, targets: np.ndarray) -> Masks:
    """Which of the records [N] belong to each requested slice; empty slices are left out."""
    selected: dict[str, np.ndarray] = {}
    properties, by_target = kinds.evaluation(kind).PROPERTIES, tasks.evaluation(answers.task).SLICES
    for name in requested:
        if name in by_target:
            selected |= by_target[name](answers, targets)
        else:
            selected |= thirds(properties[name](inputs), name)
    return {name: mask for name, mask in selected.items() if mask.any()}
