"""Windows of a series: what the model sees, and what came next. Pure."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from ratchet.series import SeriesContract


def windows(contract: SeriesContract, rows: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Inputs [N, window] and targets [N, horizon], float32, one for each moment with no gap around it.

    A moment that was given two different values is a gap: nobody says which of them is right.
    """
    moments = rows["captured_at"].cast(pa.int64()).to_numpy() // 1_000_000
    told = np.unique(np.stack([moments.astype(np.float64), rows["value"].to_numpy().astype(np.float64)]), axis=1)
    seconds, first, times = np.unique(told[0], return_index=True, return_counts=True)
    seconds, values = seconds[times == 1], told[1][first[times == 1]].astype(np.float32)
    size = contract.window + contract.horizon
    if len(values) < size:
        return np.zeros((0, contract.window), np.float32), np.zeros((0, contract.horizon), np.float32)
    whole = np.lib.stride_tricks.sliding_window_view(values, size)
    steps = seconds[size - 1 :] - seconds[: len(seconds) - size + 1]
    whole = whole[steps == (size - 1) * contract.step]
    return np.ascontiguousarray(whole[:, : contract.window]), np.ascontiguousarray(whole[:, contract.window :])
