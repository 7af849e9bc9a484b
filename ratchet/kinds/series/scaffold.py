"""Outlines a recipe for the values of a series."""

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ratchet.errors import Refusal
from ratchet.kinds.series import grid
from ratchet.kinds.series.contract import SeriesContract
from ratchet.lake.outline import Fields, Given, Outline, accepted, quoted, read

_UNBOUNDED = 1e300
_NEARLY = 0.99
"""The share of times that must be on business days."""


def outline(source: Path, given: Given) -> Outline:
    """The step is the most frequent time between neighbours, the horizon one day, the window one week.

    Of business days, the horizon is a week and the window seven; of months, one and twelve. Usual gaps are filled, up
    to an eighth of the window.
    """
    rows = read(source, SeriesContract(-_UNBOUNDED, _UNBOUNDED), given.layout)
    good = rows.filter(pc.is_null(rows["reason"]))
    times = good["captured_at"].cast(pa.int64()).to_numpy() // 1_000_000
    seconds = np.unique(times)
    if len(seconds) < 60:
        accepted(rows, source)
        raise Refusal("it has too few times to be a series", source, "Give at least 60 rows of `time`, `value`")
    if (np.diff(times) < 0).any():
        raise Refusal("its rows are not in the order of time", source, "Sort them: the last fifth is the benchmark")
    step, offset = _grid(seconds)
    horizon = given.horizon or _horizon(step)
    window = given.window or (12 if step == "month" else 7) * horizon
    if window % horizon:
        what = f"the window of {window} is not a multiple of the horizon of {horizon}"
        raise Refusal(what, source, f"Give --window {window // horizon * horizon or horizon}")
    values = np.frombuffer(b"".join(good["data"].to_pylist()))
    low, high = float(values.min()), float(values.max())
    if low == high:
        raise Refusal(f"every value is {low}", source, "Give a series that changes")
    room, needed = (high - low) / 2, window + 3 * horizon
    # Each of the twelve blocks of a cycle needs a few windows with their horizon.
    block = min(max(len(seconds) // 24, needed), 2 * window)
    if len(seconds) * 4 // 5 < 12 * block:
        what = f"{len(seconds)} values do not suffice for twelve blocks of {block} and a benchmark"
        every = grid.describe(step)
        next = f"Give at least {15 * block} values, one every {every}, or a smaller --horizon and --window"
        raise Refusal(what, source, next)
    gaps = np.diff(np.floor(grid.places(step, offset, seconds)).astype(int)) - 1
    accepted(rows, source)
    arguments: dict[str, Any] = {"low": _short(low - room, room), "high": _short(high + room, room)}
    arguments |= {"close": _short((high - low) / 50, room / 50), "step": step, "offset": offset}
    arguments |= {"window": window, "horizon": horizon, "block": block}
    if (gaps > 0).any():
        arguments["fill"] = int(min(np.quantile(gaps[gaps > 0], 0.95), max(1, window // 8)))
    notes = {"low": "  # the range is a guess", "fill": "  # values are missing, at most so many in a row are filled"}
    lines = "".join(f"        {field}={value!r},{notes.get(field, '')}\n" for field, value in arguments.items())
    criteria = f"ForecastCriteria(squared_error={float(np.var(values)) or 1.0:.4g})"
    call = f"SeriesContract(\n{lines}    )"
    share = float((gaps != 0).mean())
    suite = f", max_gaps={min(1.0, round(2 * share + 0.01, 2))}" if share > 0.005 else ""
    fields = {"call": call, "family": "rnn", "criteria": criteria, "suite": suite}
    return Outline(rows, SeriesContract(**arguments), {**fields, **_feeds(source, rows.num_rows)})


def _grid(seconds: np.ndarray) -> tuple[int | str, int]:
    """The step, and where it begins: seconds from one time to the next, or `month`, or `business day`.

    Days are business days if nearly no time is on a weekend, as the zone of the times has it: of midnights in Berlin,
    which are 22:00 or 23:00 in UTC, a day must begin before that.
    """
    usual: int = Counter(np.diff(seconds).tolist()).most_common(1)[0][0]
    months = np.diff(grid.places("month", 0, seconds))
    if usual >= 28 * grid.DAY and months.min() > 0 and (months == 1).mean() > 0.5:
        return "month", 0
    if usual == grid.DAY:
        for offset in (0, *_starts(seconds)):
            places = grid.places("business day", offset, seconds)
            weekends = np.diff(np.floor((seconds - offset) / grid.DAY)) == 3
            if (places % 1 == 0).mean() > _NEARLY and weekends.mean() > 0.1:
                return "business day", offset
    return usual, Counter((seconds % usual).tolist()).most_common(1)[0][0]


def _starts(seconds: np.ndarray) -> tuple[int, int]:
    """When a day may begin, in seconds after midnight in UTC: in the middle of the longest time without a value."""
    times = np.unique(seconds % grid.DAY)
    free = np.diff([*times, times[0] + grid.DAY])
    middle = int(times[free.argmax()] + free.max() // 2) % grid.DAY
    return middle - grid.DAY, middle


def _horizon(step: int | str) -> int:
    if isinstance(step, str):
        return {"business day": 5, "month": 1}[step]
    return max(1, round(grid.DAY / step)) if step < grid.DAY else 7


def _short(value: float, scale: float) -> float:
    """With as many digits as a value of that scale needs to be told from others."""
    return round(value, 4 - math.floor(math.log10(scale)))


def _feeds(source: Path, count: int) -> Fields:
    """The last fifth of a series is the benchmark."""
    name, cut = quoted(source.name), count * 4 // 5
    purpose = quoted(f"Forecasts what comes next in {source.name}.")
    feeds = {"batch": f"Feed({name}, stop={cut})", "benchmark": f"Feed({name}, start={cut})"}
    return {"task": "", "purpose": purpose, "share": "", **feeds}
