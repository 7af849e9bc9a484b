"""Windows of a series: what the model reads, and what came next. Pure."""

import numpy as np
import pyarrow as pa

from ratchet.kinds.series import SeriesContract


def windows(contract: SeriesContract, rows: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Inputs [N, window] and targets [N, horizon], float32, one pair for each time with no gap around it.

    A time with two different values is a gap, since nobody knows which one is right.
    """
    times = (rows["captured_at"].cast(pa.int64()).to_numpy() // 1_000_000).astype(np.float64)
    pairs = np.unique(np.stack([times, rows["value"].to_numpy().astype(np.float64)]), axis=1)
    moments, first, values_at = np.unique(pairs[0], return_index=True, return_counts=True)
    unambiguous = values_at == 1
    seconds, values = moments[unambiguous], pairs[1][first[unambiguous]].astype(np.float32)
    size = contract.window + contract.horizon
    if len(values) < size:
        return np.zeros((0, contract.window), np.float32), np.zeros((0, contract.horizon), np.float32)
    spans = np.lib.stride_tricks.sliding_window_view(values, size)
    durations = seconds[size - 1 :] - seconds[: len(seconds) - size + 1]
    spans = spans[durations == (size - 1) * contract.step]
    return np.ascontiguousarray(spans[:, : contract.window]), np.ascontiguousarray(spans[:, contract.window :])
