"""The end of a network that forecasts. The kind of input builds it, since it continues the series."""

from typing import Any

import numpy as np

from ratchet.kinds.parts import Start
from ratchet.tasks.forecast.answers import Forecast


def loss(answers: Forecast) -> str:
    return "MeanSquaredError"


def end(answers: Forecast, start: Start, x: Any) -> Any:
    """The next values [N, horizon]."""
    assert start.forecast, "the kind of input continues a series"
    return start.forecast(x, answers.width)


def adapt(model: Any, targets: np.ndarray) -> None:
    """A forecast is a difference from the last values, and needs nothing."""


def temperature(targets: np.ndarray, outputs: np.ndarray) -> float:
    return 1.0


def confusion(answers: Forecast, targets: np.ndarray, outputs: np.ndarray) -> tuple[tuple[int, ...], ...]:
    return ()
