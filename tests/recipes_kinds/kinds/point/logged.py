"""What the prediction log keeps of points."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from ratchet.kinds.point.contract import PointContract

NAMES = ("x", "y")


def statistics(contract: PointContract, inputs: np.ndarray) -> dict[str, list[Any]]:
    return {name: inputs[:, at].tolist() for at, name in enumerate(NAMES)}


def redacted(contract: PointContract, inputs: np.ndarray, what: Sequence[str]) -> np.ndarray:
    raise ValueError("a point cannot be redacted")
