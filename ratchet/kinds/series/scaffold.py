"""Outlines a recipe for the values of a series."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ratchet.errors import Refusal
from ratchet.kinds.series.contract import SeriesContract
from ratchet.lake.outline import Fields, Outline, accepted, quoted, read
from ratchet.layout import Layout

_UNBOUNDED = 1e300


def outline(source: Path, target: str, layout: Layout) -> Outline:
    """The step is the most frequent time between neighbours, the horizon one day, the window one week."""
    rows = read(source, SeriesContract(-_UNBOUNDED, _UNBOUNDED), layout)
    good = rows.filter(pc.is_null(rows["reason"]))
    times = good["captured_at"].cast(pa.int64()).to_numpy() // 1_000_000
    seconds = np.unique(times)
    if len(seconds) < 60:
        raise Refusal("it has too few times to be a series", source, "Give at least 60 rows of `time`, `value`")
    if (np.diff(times) < 0).any():
        raise Refusal("its rows are not in the order of time", source, "Sort them: the last fifth is the benchmark")
    step = Counter(np.diff(seconds).tolist()).most_common(1)[0][0]
    offset = Counter((seconds % step).tolist()).most_common(1)[0][0]
    horizon = max(1, round(86400 / step)) if step < 86400 else 7
    values = np.frombuffer(b"".join(good["data"].to_pylist()))
    low, high = float(values.min()), float(values.max())
    if low == high:
        raise Refusal(f"every value is {low}", source, "Give a series that changes")
    room, needed = (high - low) / 2, 10 * horizon
    # Each of the twelve blocks of a cycle needs a few windows with their horizon.
    block = min(max(len(seconds) // 24, needed), 14 * horizon)
    if len(seconds) * 4 // 5 < 12 * block:
        what = f"{len(seconds)} values do not suffice for twelve blocks of {block} and a benchmark"
        raise Refusal(what, source, f"Give at least {15 * needed} values, one every {step} s")
    arguments = {"low": low - room, "high": high + room, "close": (high - low) / 50, "step": step, "offset": offset}
    arguments |= {"window": 7 * horizon, "horizon": horizon, "block": block}
    lines = "".join(f"        {field}={value!r},\n" for field, value in arguments.items())
    criteria = f"ForecastCriteria(squared_error={float(np.var(values)) or 1.0:.4g})"
    call = f"SeriesContract(\n{lines}    )"
    fields = {"call": call, "family": "rnn", "criteria": criteria}
    return Outline(rows, {**fields, **_feeds(source, accepted(rows, source).num_rows)})


def _feeds(source: Path, count: int) -> Fields:
    """The last fifth of a series is the benchmark."""
    name, cut = quoted(source.name), count * 4 // 5
    purpose = quoted(f"Forecasts what comes next in {source.name}.")
    feeds = {"batch": f"Feed({name}, stop={cut})", "benchmark": f"Feed({name}, start={cut})"}
    return {"task": "", "purpose": purpose, "share": "", **feeds}
