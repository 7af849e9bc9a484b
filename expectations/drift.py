"""How far newer batches are from older ones, column by column. Pure.

By the population stability index over ten bins that hold a tenth of the older records each: below 0.1 the change is
little. Source: Siddiqi, Credit Risk Scorecards, 2006; Yurdakul, Statistical Properties of Population Stability Index,
2018. Of a few records chance alone makes it large, so a column has drifted only if the change is also significant: by
Pearson's test of homogeneity, with rare values taken together (Cochran, 1954) and all columns of a comparison corrected
for their number (Holm, 1979).
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

NOTABLE = 0.1
"""The index from which on a change is more than little."""
FALSE_ALARMS = 0.01
"""The share of comparisons of unchanged data in which any column may be said to have drifted."""
MIN_ROWS = 50
"""Records of each side below which nothing is said."""
_MIN_EXPECTED = 5
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
    missing: Mapping[str, int] = field(default_factory=dict)
    """Records of each column without a value; empty in a summary of 0.1.0."""


def summarize(frame: pd.DataFrame, shares: Collection[str]) -> Summary:
    """The summary of the table of statistics that the suite checks, without the columns that describe the batch."""
    at, left_out = np.linspace(0, 1, _POINTS), {*_EXCLUDED, *shares}
    columns = {name: frame[name].dropna() for name in frame.columns if name not in left_out and len(frame)}
    missing = {name: len(frame) - len(values) for name, values in columns.items()}
    numbers = {name: values.to_numpy(float) for name, values in columns.items() if _is_numeric(values) and len(values)}
    quantiles = {name: tuple(map(float, np.quantile(values, at))) for name, values in numbers.items()}
    others = {name: values for name, values in columns.items() if name not in numbers}
    # A column of names or of ids always differs, and is nobody's business in a summary.
    categories = {name: _counts(values) for name, values in others.items() if 0 < values.nunique() <= _MOST}
    labels = _counts(frame["label"].explode()) if "label" in frame else {}
    return Summary(len(frame), quantiles, labels, categories, missing)


def _is_numeric(values: pd.Series) -> bool:
    return values.map(type).isin([int, float, bool]).all() if values.dtype == object else values.dtype.kind in "iufb"


def _counts(values: pd.Series) -> dict[str, int]:
    counts = values.value_counts()
    return {str(value): int(count) for value, count in sorted(dict(counts).items())}


def drift(older: Sequence[Summary], newer: Sequence[Summary]) -> tuple[Drift, ...]:
    """Whether each column and the labels have drifted; empty if there are no older or no newer records."""
    older, newer = ([summary for summary in side if summary.rows] for side in (older, newer))
    if not older or not newer:
        return ()
    rows = tuple(sum(summary.rows for summary in side) for side in (older, newer))
    shares, both = dict[str, tuple[np.ndarray, np.ndarray]](), [*older, *newer]
    for name in sorted(set.intersection(*(set(summary.quantiles) for summary in both))):
        values, weights = _weighted(older, name)
        at = np.linspace(0, 1, _BINS + 1)[1:-1]
        edges = np.unique(np.quantile(values, at, weights=weights, method="inverted_cdf"))
        shares[name] = _binned(older, name, edges), _binned(newer, name, edges)
    categories = {"label": [each.labels for each in both]}
    categories |= {name: [each.categories.get(name, {}) for each in both] for name in _columns(both)}
    for name, sizes in categories.items():
        old, new = _shares(sizes[: len(older)]), _shares(sizes[len(older) :])
        if old and new:
            known = sorted(set(old) | set(new))
            one, other = (np.array([side.get(value, 0.0) for value in known]) for side in (old, new))
            shares[name] = one, other
    for name in sorted(set.intersection(*(set(summary.missing) for summary in both))):
        absent = [sum(summary.missing[name] for summary in side) / count
                  for side, count in zip((older, newer), rows, strict=True)]  # fmt: skip
        if any(absent):
            one, other = (np.array([share, 1 - share]) for share in absent)
            shares[f"{name} (missing)"] = one, other
    indices = {name: _index(*pair, rows) for name, pair in shares.items()}
    if min(rows) < MIN_ROWS:
        return tuple(Drift(name, index) for name, index in indices.items())
    p_values = _holm({name: _p_value(*pair, rows) for name, pair in shares.items()})
    return tuple(
        Drift(name, index, p_values[name], index >= NOTABLE and p_values[name] <= FALSE_ALARMS)
        for name, index in indices.items()
    )


def _p_value(older: np.ndarray, newer: np.ndarray, rows: tuple[int, ...]) -> float:
    """Of Pearson's test that both shares [K] of so many rows are of one population; 1 if there is one value."""
    from scipy.stats import chi2

    observed = np.stack([older * rows[0], newer * rows[1]])
    order = np.argsort(observed.sum(axis=0))
    fewest = observed[:, order].sum(axis=0).cumsum() * min(rows) / sum(rows)
    rare = order[: np.searchsorted(fewest, _MIN_EXPECTED) + 1] if fewest[0] < _MIN_EXPECTED else order[:0]
    observed = np.column_stack([observed[:, rare].sum(axis=1), np.delete(observed, rare, axis=1)])
    observed = observed[:, observed.sum(axis=0) > 0]
    expected = observed.sum(axis=1, keepdims=True) * observed.sum(axis=0) / observed.sum()
    statistic = float(((observed - expected) ** 2 / expected).sum())
    return float(chi2.sf(statistic, observed.shape[1] - 1)) if observed.shape[1] > 1 else 1.0


def _holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """The same, corrected for their number."""
    corrected, largest = dict[str, float](), 0.0
    for rank, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, p * (len(p_values) - rank)))
        corrected[name] = largest
    return corrected


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
