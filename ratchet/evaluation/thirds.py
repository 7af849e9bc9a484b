"""Slices by a number: its lowest, middle and highest third. Pure."""

from collections.abc import Mapping

import numpy as np

Masks = Mapping[str, np.ndarray]
"""Which of the records [N] belong to each slice."""


def thirds(values: np.ndarray, name: str) -> Masks:
    """Which of the records have a low, a medium and a high value [N]."""
    low, high = np.quantile(values, [1 / 3, 2 / 3])
    medium = (values > low) & (values <= high)
    return {f"low {name}": values <= low, f"medium {name}": medium, f"high {name}": values > high}
