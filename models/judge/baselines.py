"""What a forecast must beat to be worth anything. Pure.

After Hyndman and Athanasopoulos, Forecasting: Principles and Practice, 2021, sections 5.2 and 7.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

LINEAR = "the linear baseline"


def seasonal_naive(inputs: np.ndarray, horizon: int, season: int) -> np.ndarray:
    """Forecasts [N, horizon] for windows [N, window]: what was at this time a season ago."""
    return inputs[:, [-season + step % season for step in range(horizon)]]


def linear(inputs: np.ndarray, past: np.ndarray, future: np.ndarray, ridge: float = 1.0) -> np.ndarray:
    """Forecasts [N, horizon] by least squares, fitted on windows `past` [M, window] and what followed [M, horizon].

    Every window less its own mean, with a small ridge (Hoerl and Kennard 1970), since neighbours are alike.
    """
    mean = past.mean(axis=1, keepdims=True)
    x, y = (past - mean).astype(float), (future - mean).astype(float)
    weights = np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ y)
    own = inputs.mean(axis=1, keepdims=True)
    return (inputs - own) @ weights + own


def baselines(inputs: np.ndarray, past: np.ndarray, future: np.ndarray, season: int) -> Mapping[str, np.ndarray]:
    """The forecasts of each by its name."""
    return {
        "the seasonal-naive baseline": seasonal_naive(inputs, future.shape[1], season),
        LINEAR: linear(inputs, past, future),
    }
