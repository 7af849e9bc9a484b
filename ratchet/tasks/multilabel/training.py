"""The end of a network that tells whether an input has each of some labels."""

from typing import Any

import numpy as np

from ratchet.kinds.parts import Start
from ratchet.tasks.multilabel.answers import MultiLabel


def loss(answers: MultiLabel) -> str:
    return "BinaryCrossentropy"


def end(answers: MultiLabel, start: Start, x: Any) -> Any:
    """Probabilities [N, labels], each for itself."""
    import keras

    return keras.layers.Dense(answers.width, activation="sigmoid")(x)


def adapt(model: Any, targets: np.ndarray) -> None:
    """Probabilities need nothing."""


def temperature(targets: np.ndarray, outputs: np.ndarray) -> float:
    """The probabilities are not those of one choice, which a temperature calibrates."""
    return 1.0


def confusion(answers: MultiLabel, targets: np.ndarray, outputs: np.ndarray) -> tuple[tuple[int, ...], ...]:
    return ()
