"""Windows of a series: what the model reads, and what came next. Pure."""

from contextlib import suppress

import numpy as np
import pyarrow as pa

from ratchet.errors import Refusal
from ratchet.kinds.series.contract import SeriesContract


def windows(contract: SeriesContract, rows: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Inputs [N, window] and targets [N, horizon], float32, one pair for each time around which enough is known.

    An input may lack up to `contract.fill` values in a row, which are NaN, and a target none. A time with two different
    values lacks one, since nobody knows which is right.
    """
    times = contract.places(rows["captured_at"].cast(pa.int64()).to_numpy() // 1_000_000)
    pairs = np.unique(np.stack([times, rows["value"].to_numpy().astype(np.float64)]), axis=1)
    moments, first, values_at = np.unique(pairs[0], return_index=True, return_counts=True)
    unambiguous = values_at == 1
    places, values = moments[unambiguous], pairs[1][first[unambiguous]].astype(np.float32)
    size = contract.window + contract.horizon
    spans = _spans(places.astype(int), values, size)
    if not len(spans):
        return np.zeros((0, contract.window), np.float32), np.zeros((0, contract.horizon), np.float32)
    inputs, targets = spans[:, : contract.window], spans[:, contract.window :]
    usable = ~np.isnan(targets).any(axis=1) & _few_missing(contract, inputs)
    return np.ascontiguousarray(inputs[usable]), np.ascontiguousarray(targets[usable])


def _spans(places: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    """Every run of `size` steps [N, size] between the first and the last value; NaN where one is missing.

    Runs that lie in a gap of their own length are left out.
    """
    if len(values) < 2:
        return np.zeros((0, size), np.float32)
    breaks = np.flatnonzero(np.diff(places) > size) + 1
    spans = []
    for piece in np.split(np.arange(len(values)), breaks):
        steps = places[piece] - places[piece[0]]
        run = np.full(steps[-1] + 1, np.nan, np.float32)
        run[steps] = values[piece]
        if len(run) >= size:
            spans.append(np.lib.stride_tricks.sliding_window_view(run, size))
    return np.concatenate(spans) if spans else np.zeros((0, size), np.float32)


def _few_missing(contract: SeriesContract, inputs: np.ndarray) -> np.ndarray:
    """Which of the windows [N, window] the contract accepts with what they lack."""
    missing = np.isnan(inputs)
    few = ~missing.any(axis=1)
    for row in np.flatnonzero(~few) if contract.fill else ():
        with suppress(Refusal):
            contract.check_gaps(missing[row], f"row {row}", "the windows")
            few[row] = True
    return few
