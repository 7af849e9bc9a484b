"""What an evaluation does with windows of a series: slices by level, and what forecasts are checked by. Pure."""

from collections.abc import Mapping, Sequence

import numpy as np

from ratchet.evaluation.thirds import thirds
from ratchet.kinds.parts import Perturbation, Slices
from ratchet.kinds.series.contract import SeriesContract


def _level(windows: np.ndarray) -> np.ndarray:
    return np.nanmean(windows, axis=1)


PERTURBATIONS: Mapping[str, Perturbation] = {}


def columns(contract: SeriesContract, inputs: np.ndarray) -> Mapping[str, np.ndarray]:
    return {}


def unseen(contract: SeriesContract, inputs: np.ndarray, vocabulary: Sequence[str]) -> None:
    """Values have no vocabulary."""


def slices(contract: SeriesContract) -> Mapping[str, Slices]:
    return {"level": lambda inputs: thirds(_level(inputs), "level")}


prefixed = near = None


def season(contract: SeriesContract) -> int:
    """The steps after which the seasonal-naive baseline repeats a value."""
    return contract.season


def filled(contract: SeriesContract, windows: np.ndarray) -> np.ndarray:
    """The windows [N, window] without gaps, as a model reads them."""
    return contract.filled(windows)


def raised(contract: SeriesContract, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Which of the windows [N, window] can be raised by a twentieth of the range; those raised; and by how much."""
    shift = (contract.high - contract.low) / 20
    raisable = np.nanmax(windows, axis=1) + shift <= contract.high
    return raisable, (windows[raisable] + shift).astype(windows.dtype), shift
