"""What the prediction log keeps of windows. Needs only NumPy."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ratchet.kinds.series.contract import SeriesContract


def statistics(contract: SeriesContract, inputs: np.ndarray) -> dict[str, list[Any]]:
    """The newest value of each of the windows [N, window], which the windows after it share; None in a gap."""
    return {"value": [None if np.isnan(value) else float(value) for value in inputs[:, -1]]}


def redacted(contract: SeriesContract, inputs: np.ndarray, what: Sequence[str]) -> np.ndarray:
    """Raises ValueError: nothing in a window has a name."""
    raise ValueError("a series cannot be redacted: leave `redact` empty")
