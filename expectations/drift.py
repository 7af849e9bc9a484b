"""How far newer batches are from older ones, column by column. Pure.

By the population stability index over ten bins that hold a tenth of the older records each: below 0.1 the change is
little, from 0.25 on it is large. Source: Siddiqi, Credit Risk Scorecards, 2006; Yurdakul, Statistical Properties
of Population Stability Index, 2018.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ratchet.types import Drift

if TYPE_CHECKING:
    import pandas as pd

_MIN_SHARE = 1e-4
_BINS, _POINTS, _MOST = 10, 101, 200
_EXCLUDED = ("record", "label", "duplicate", "age_days")


@dataclass(frozen=True)
class Summary:
    """What is kept of a batch's statistics: percentiles of numbers, the number of records by label and by category."""

    rows: int
    quantiles: Mapping[str, tuple[float, ...]]
    """Of each column of numbers, without those that are missing."""
    labels: Mapping[str, int]
    categories: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Of each other column; empty in a summary of 0.1.0."""


def summarize(frame: pd.DataFrame, shares: Collection[str]) -> Summary:
    """The summary of the table of statistics that the suite checks, without the columns that describe the batch."""
    at, left_out = np.linspace(0, 1, _POINTS), {*_EXCLUDED, *shares}
    columns = {name: frame[name].dropna() for name in frame.columns if name not in left_out and len(frame)}
    numbers = {name: values.to_numpy(float) for name, values in columns.items() if _is_numeric(values) and len(values)}
    quantiles = {name: tuple(map(float, np.quantile(values, at))) for name, values in numbers.items()}
    others = {name: values for name, values in columns.items() if name not in numbers}
    # A column of names or of ids always differs, and is nobody's business in a summary.
    categories = {name: _counts(values) for name, values in others.items() if 0 < values.nunique() <= _MOST}
    return Summary(len(frame), quantiles, _counts(frame["label"].explode()) if "label" in frame else {}, categories)


def _is_numeric(values: pd.Series) -> bool:
    return values.map(type).isin([int, float, bool]).all() if values.dtype == object else values.dtype.kind in "iufb"


def _counts(values: pd.Series) -> dict[str, int]:
    counts = values.value_counts()
    return {str(value): int(count) for value, count in sorted(dict(counts).items())}


def drift(older: Sequence[Summary], newer: Sequence[Summary]) -> tuple[Drift, ...]:
    """The index of every column and of the labels; empty if there are no older or no newer records."""
    older, newer = ([summary for summary in side if summary.rows] for side in (older, newer))
    if not older or not newer:
        return ()
    counts = tuple(sum(summary.rows for summary in side) for side in (older, newer))
    results, both = [], [*older, *newer]
    for name in sorted(set.intersection(*(set(summary.quantiles) for summary in both))):
        values, weights = _weighted(older, name)
        at = np.linspace(0, 1, _BINS + 1)[1:-1]
        edges = np.unique(np.quantile(values, at, weights=weights, method="inverted_cdf"))
        results.append(Drift(name, _index(_binned(older, name, edges), _binned(newer, name, edges), counts)))
    categories = {"label": [each.labels for each in both]}
    categories |= {name: [each.categories.get(name, {}) for each in both] for name in _columns(both)}
    for name, sizes in categories.items():
        old, new = _shares(sizes[: len(older)]), _shares(sizes[len(older) :])
        if old and new:
            known = sorted(set(old) | set(new))
            one, other = (np.array([side.get(value, 0.0) for value in known]) for side in (old, new))
            results.append(Drift(name, _index(one, other, counts)))
    return tuple(results)


def _columns(summaries: Sequence[Summary]) -> list[str]:
    return sorted({name for summary in summaries for name in summary.categories})


def _shares(sizes: Sequence[Mapping[str, int]]) -> dict[str, float]:
    """The share of each category among all of a side's batches."""
    total = Counter[str]()
    for each in sizes:
        total.update(each)
    return {value: count / total.total() for value, count in total.items()}


def _weighted(side: Sequence[Summary], name: str) -> tuple[np.ndarray, np.ndarray]:
    """The quantiles of a column, and the number of records that each of them stands for."""
    values = np.concatenate([s.quantiles[name] for s in side])
    return values, np.concatenate([np.full(len(s.quantiles[name]), s.rows / len(s.quantiles[name])) for s in side])


def _binned(side: Sequence[Summary], name: str, edges: np.ndarray) -> np.ndarray:
    values, weights = _weighted(side, name)
    counts = np.bincount(np.searchsorted(edges, values, side="left"), weights, minlength=len(edges) + 1)
    return np.asarray(counts / counts.sum())


def _index(older: np.ndarray, newer: np.ndarray, counts: tuple[int, ...]) -> float:
    """The index minus its mean for two samples of one population (Yurdakul), and at least 0."""
    one, other = np.maximum(older, _MIN_SHARE), np.maximum(newer, _MIN_SHARE)
    chance = (len(older) - 1) * sum(1 / n for n in counts)
    return round(max(0.0, float(((other - one) * np.log(other / one)).sum()) - chance), 4)
