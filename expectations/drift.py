"""How far newer batches are from older ones, column by column. Pure.

By the population stability index over ten bins that hold a tenth of the older records each: below 0.1 the change is
little, from 0.25 on it is large. Source: Siddiqi, Credit Risk Scorecards, 2006; Yurdakul, Statistical Properties
of Population Stability Index, 2018.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ratchet.types import Drift

if TYPE_CHECKING:
    import pandas as pd

_MIN_SHARE = 1e-4
_BINS, _POINTS = 10, 101
_EXCLUDED = ("record", "label", "class_share", "duplicate", "age_days")


@dataclass(frozen=True)
class Summary:
    """What is kept of a batch's statistics: the percentiles of each column, and the number of records by label."""

    rows: int
    quantiles: Mapping[str, tuple[float, ...]]
    labels: Mapping[str, int]


def summarize(frame: pd.DataFrame) -> Summary:
    """The summary of the table of statistics that the suite checks."""
    at = np.linspace(0, 1, _POINTS)
    columns = [name for name in frame.columns if name not in _EXCLUDED and len(frame)]
    quantiles = {name: tuple(map(float, np.quantile(frame[name].to_numpy(float), at))) for name in columns}
    labels = frame["label"].value_counts() if "label" in frame else {}
    return Summary(len(frame), quantiles, {str(k): int(n) for k, n in sorted(dict(labels).items())})


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
    names = sorted({label for summary in both for label in summary.labels})
    if names:
        results.append(Drift("label", _index(_shares(older, names), _shares(newer, names), counts)))
    return tuple(results)


def _shares(side: Sequence[Summary], labels: Sequence[str]) -> np.ndarray:
    counts = np.array([sum(summary.labels.get(label, 0) for summary in side) for label in labels], float)
    return np.asarray(counts / counts.sum())


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
