"""Slices of a benchmark, by name: a recipe names them, and an evaluation compares each. Pure."""

from collections.abc import Sequence

import numpy as np

from ratchet.answers import Answers
from ratchet.contract import Contract
from ratchet.evaluation.thirds import Masks
from ratchet.kinds import parts as kinds
from ratchet.tasks import parts as tasks


def names(contract: Contract, task: str) -> tuple[str, ...]:
    """The slices that an evaluation of this kind of input and this task can compare."""
    return (*tasks.evaluation(task).SLICES, *kinds.evaluation(contract.kind).slices(contract))


def masks(
    contract: Contract, answers: Answers, requested: Sequence[str], inputs: np.ndarray, targets: np.ndarray
) -> Masks:
    """Which of the records [N] belong to each requested slice; empty slices are left out."""
    selected: dict[str, np.ndarray] = {}
    by_input, by_target = kinds.evaluation(contract.kind).slices(contract), tasks.evaluation(answers.task).SLICES
    for name in requested:
        selected |= by_target[name](answers, targets) if name in by_target else by_input[name](inputs)
    return {name: mask for name, mask in selected.items() if mask.any()}
