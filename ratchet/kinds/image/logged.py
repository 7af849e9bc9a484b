"""What the prediction log keeps of images. What is measured is the same in the lake. Needs only NumPy."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ratchet.kinds.image.contract import ImageContract


def statistics(contract: ImageContract, inputs: np.ndarray) -> dict[str, list[Any]]:
    """The extremes, mean and standard deviation of each image of [N, height, width, ...]."""
    pixels = inputs.reshape(len(inputs), -1)
    extremes = {"minimum": pixels.min(axis=1), "maximum": pixels.max(axis=1)}
    measured = {**extremes, "mean": pixels.mean(axis=1), "deviation": pixels.std(axis=1)}
    return {name: values.tolist() for name, values in measured.items()}


def redacted(contract: ImageContract, inputs: np.ndarray, what: Sequence[str]) -> np.ndarray:
    """Raises ValueError: nothing in an image has a name."""
    raise ValueError("an image cannot be redacted: leave `redact` empty")
