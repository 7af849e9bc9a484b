"""The end of a network that tells classes apart."""

from typing import Any

import numpy as np

from ratchet.evaluation import calibration
from ratchet.kinds.parts import Start
from ratchet.tasks.classification.answers import Classification


def loss(answers: Classification) -> str:
    return "SparseCategoricalCrossentropy"


def end(answers: Classification, start: Start, x: Any) -> Any:
    """Probabilities [N, classes]."""
    import keras

    return keras.layers.Dense(answers.width, activation="softmax")(x)


def adapt(model: Any, targets: np.ndarray) -> None:
    """Probabilities need nothing."""


def temperature(targets: np.ndarray, outputs: np.ndarray) -> float:
    """The temperature that calibrates these outputs."""
    return calibration.temperature(targets, outputs)


def confusion(answers: Classification, targets: np.ndarray, outputs: np.ndarray) -> tuple[tuple[int, ...], ...]:
    """The number of records by true class (rows) and predicted class (columns)."""
    table = np.zeros((answers.width, answers.width), int)
    np.add.at(table, (targets, outputs.argmax(axis=1)), 1)
    return tuple(tuple(int(n) for n in row) for row in table)
