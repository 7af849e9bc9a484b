"""Simple forecasts that a model must beat. Pure.

After Hyndman and Athanasopoulos, Forecasting: Principles and Practice, 2021, sections 5.2 and 7.
"""

from collections.abc import Mapping

import numpy as np

SEASONAL_NAIVE, LINEAR = "the seasonal-naive baseline", "the linear baseline"


def seasonal_naive(inputs: np.ndarray, horizon: int, season: int) -> np.ndarray:
    """Forecasts [N, horizon] for windows [N, window]: the values at the same time one season ago."""
    return inputs[:, [-season + step % season for step in range(horizon)]]


def linear(inputs: np.ndarray, past: np.ndarray, future: np.ndarray, ridge: float = 1.0) -> np.ndarray:
    """Forecasts [N, horizon] by least squares, fitted on windows `past` [M, window] and their `future` [M, horizon].

    The mean of each window is subtracted. A small ridge is added (Hoerl and Kennard 1970), since neighbouring values
    are similar.
    """
    mean = past.mean(axis=1, keepdims=True)
    x, y = (past - mean).astype(float), (future - mean).astype(float)
    weights = np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ y)
    level = inputs.mean(axis=1, keepdims=True)
    return (inputs - level) @ weights + level


def baselines(inputs: np.ndarray, past: np.ndarray, future: np.ndarray, season: int) -> Mapping[str, np.ndarray]:
    """The forecasts of each baseline by its name."""
    return {SEASONAL_NAIVE: seasonal_naive(inputs, future.shape[1], season), LINEAR: linear(inputs, past, future)}
