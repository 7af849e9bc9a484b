"""How far newer batches are from older ones, column by column. Pure.

By the population stability index over ten bins that hold a tenth of the older records each: below 0.1 the change is
little. Source: Siddiqi, Credit Risk Scorecards, 2006; Yurdakul, Statistical Properties of Population Stability Index,
2018. Of a few records chance alone makes it large, so a column has drifted only if the change is also significant: by
Pearson's test of homogeneity, with rare values taken together (Cochran, 1954) and all columns of a comparison corrected
for their number (Holm, 1979).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from ratchet.types import Drift

if TYPE_CHECKING:
    import pandas as pd

NOTABLE = 0.1
"""The index from which on a change is more than little."""
FALSE_ALARMS = 0.01
"""The share of comparisons of unchanged data in which any column may be said to have drifted."""
MIN_ROWS = 100
"""Values on each side below which nothing is said of a column: with fewer, Pearson's test alarms too often."""
MISSING = " (missing)"
"""Ends the name of how often a column has no value."""
_MIN_EXPECTED = 5
_MIN_SHARE = 1e-4
_BINS, _POINTS, _MOST, _FEW = 10, 101, 200, 20
_WHOLE = re.compile(r"-?\d+\.0")
_EXCLUDED = ("record", "label", "duplicate", "age_days")
Counts = tuple[np.ndarray, np.ndarray]
"""Older and newer records [K] in each bin of a column."""


@dataclass(frozen=True)
class Summary:
    """What is kept of a batch's statistics: percentiles of numbers, the number of records by label and by category."""

    rows: int
    quantiles: Mapping[str, tuple[float, ...]]
    """Of each column of numbers, without those that are missing."""
    labels: Mapping[str, int]
    """Empty if a record may have several."""
    categories: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Of each other column, and of numbers that are few; empty in a summary of 0.1.0."""
    missing: Mapping[str, int] = field(default_factory=dict)
    """Records of each column without a value; empty in a summary of 0.1.0."""
    several: Mapping[str, int] = field(default_factory=dict)
    """Records with each label, if a record may have several; empty in a summary of 0.1.0."""


def summarize(frame: pd.DataFrame, shares: Collection[str], like: Summary | None = None) -> Summary:
    """The summary of the table of statistics that the suite checks, without the columns that describe the batch.

    Numbers are those columns that have a quantile in `like`, so that the two can be compared; by default, those that
    hold many different numbers.
    """
    left_out = {*_EXCLUDED, *shares}
    columns = {name: frame[name].dropna() for name in frame.columns if name not in left_out and len(frame)}
    missing = {name: len(frame) - len(values) for name, values in columns.items()}
    known = set(like.quantiles) if like else {name for name, values in columns.items() if _is_numeric(values)}
    numbers = {name: columns[name].to_numpy(float) for name in columns.keys() & known if len(columns[name])}
    at = (np.arange(_POINTS) + 0.5) / _POINTS
    quantiles = {name: tuple(map(float, np.quantile(values, at, method="inverted_cdf")))
                 for name, values in numbers.items()}  # fmt: skip
    others = {name: values for name, values in columns.items() if name not in numbers}
    # A column of names or of ids always differs, and is nobody's business in a summary.
    categories = {name: _counts(values) for name, values in others.items() if 0 < values.nunique() <= _MOST}
    labels = _counts(frame["label"].explode()) if "label" in frame else {}
    if labels and frame["label"].map(lambda label: isinstance(label, list)).all():
        return Summary(len(frame), quantiles, {}, categories, missing, several=labels)
    return Summary(len(frame), quantiles, labels, categories, missing)


def _is_numeric(values: pd.Series) -> bool:
    """Whether these are numbers, and not only a few different ones, which are compared one by one."""
    numeric = values.map(type).isin([int, float, bool]).all() if values.dtype == object else values.dtype.kind in "iufb"
    return bool(numeric) and values.nunique() > _FEW


def _counts(values: pd.Series) -> dict[str, int]:
    counts = values.value_counts()
    return _renamed({str(value): int(count) for value, count in sorted(dict(counts).items())})


def _renamed(counts: Mapping[str, int]) -> dict[str, int]:
    """With one name for a whole number, which is 1 in what was served and 1.0 in a column that may have gaps."""
    renamed = Counter[str]()
    for name, count in counts.items():
        renamed[category(name)] += count
    return dict(renamed)


def category(value: object) -> str:
    """The name of a value in a summary."""
    name = str(value)
    return name.removesuffix(".0") if _WHOLE.fullmatch(name) else name


def upgraded(summary: Summary) -> Summary:
    """A summary that was kept before whole numbers had one name."""
    return replace(summary, categories={name: _renamed(counts) for name, counts in summary.categories.items()})


def drift(older: Sequence[Summary], newer: Sequence[Summary]) -> tuple[Drift, ...]:
    """Whether each column and the labels have drifted; empty if there are no older or no newer records."""
    older, newer = ([summary for summary in side if summary.rows] for side in (older, newer))
    if not older or not newer:
        return ()
    compared = {**_numbers(older, newer), **_categories(older, newer), **_events(older, newer)}
    enough = {name: pair for name, pair in compared.items() if min(round(side.sum()) for side in pair) >= MIN_ROWS}
    p_values = _holm({name: _p_value(*pair) for name, pair in enough.items()})
    results = []
    for name, pair in compared.items():
        index, p_value = _index(*pair), p_values.get(name)
        drifted = p_value is not None and p_value <= FALSE_ALARMS and index >= NOTABLE
        results.append(Drift(name, index, p_value, drifted))
    return tuple(results)


def _numbers(older: Sequence[Summary], newer: Sequence[Summary]) -> dict[str, Counts]:
    """Of each column of numbers, by the tenths of the older ones; a number that fills one has a bin of its own."""
    result = {}
    for name in sorted(set.intersection(*(set(summary.quantiles) for summary in (*older, *newer)))):
        values, weights = _weighted(older, name)
        at = np.linspace(0, 1, _BINS + 1)[1:-1]
        edges, times = np.unique(np.quantile(values, at, weights=weights, method="inverted_cdf"), return_counts=True)
        edges = np.unique([*edges, *np.nextafter(edges[times > 1], -np.inf)])
        result[name] = _binned(older, name, edges), _binned(newer, name, edges)
    return result


def _weighted(side: Sequence[Summary], name: str) -> tuple[np.ndarray, np.ndarray]:
    """The quantiles of a column, and the number of values that each of them stands for."""
    values = np.concatenate([s.quantiles[name] for s in side])
    sizes = [(s.rows - s.missing.get(name, 0)) / len(s.quantiles[name]) for s in side]
    weights = [np.full(len(s.quantiles[name]), size) for s, size in zip(side, sizes, strict=True)]
    return values, np.concatenate(weights)


def _binned(side: Sequence[Summary], name: str, edges: np.ndarray) -> np.ndarray:
    values, weights = _weighted(side, name)
    return np.bincount(np.searchsorted(edges, values, side="left"), weights, minlength=len(edges) + 1)


def _categories(older: Sequence[Summary], newer: Sequence[Summary]) -> dict[str, Counts]:
    """Of the labels, and of each column of categories: the records with each."""
    both, result = (older, newer), {}
    sizes = {"label": [[summary.labels for summary in side] for side in both]}
    for name in sorted({name for summary in (*older, *newer) for name in summary.categories}):
        sizes[name] = [[summary.categories.get(name, {}) for summary in side] for side in both]
    for name, sides in sizes.items():
        old, new = (_total(side) for side in sides)
        if old and new:
            known = sorted({*old, *new})
            result[name] = (
                np.array([float(old[each]) for each in known]),
                np.array([float(new[each]) for each in known]),
            )
    return result


def _events(older: Sequence[Summary], newer: Sequence[Summary]) -> dict[str, Counts]:
    """Of what a record has or has not: a missing value in each column, and each of several labels."""
    rows = [sum(summary.rows for summary in side) for side in (older, newer)]
    counts = {f"{{}}{MISSING}": [[summary.missing for summary in side] for side in (older, newer)]}
    counts["label {}"] = [[summary.several for summary in side] for side in (older, newer)]
    result = {}
    for title, sides in counts.items():
        if not all(each for side in sides for each in side):  # a summary of 0.1.0 knows nothing of it
            continue
        old, new = (_total(side) for side in sides)
        for name in sorted(each for each in {*old, *new} if old[each] or new[each]):
            one, other = (np.array([there, count - there], float)
                          for there, count in zip((old[name], new[name]), rows, strict=True))  # fmt: skip
            result[title.format(name)] = one, other
    return result


def _total(counts: Sequence[Mapping[str, int]]) -> Counter[str]:
    total = Counter[str]()
    for each in counts:
        total.update(each)
    return total


def _p_value(older: np.ndarray, newer: np.ndarray) -> float:
    """Of Pearson's test that both counts [K] are of one population; 1 if there is one bin."""
    from scipy.stats import chi2

    observed = np.stack([older, newer])
    expected = observed.sum(axis=0) * observed.sum(axis=1).min() / observed.sum()
    order = np.argsort(expected)
    rare = int((expected < _MIN_EXPECTED).sum())
    while 0 < rare < len(order) and expected[order[:rare]].sum() < _MIN_EXPECTED:
        rare += 1
    merged = observed[:, order[:rare]].sum(axis=1, keepdims=True)
    observed = np.hstack([merged, observed[:, order[rare:]]])
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


def _index(older: np.ndarray, newer: np.ndarray) -> float:
    """The index minus its mean for two samples of one population (Yurdakul), and at least 0."""
    one, other = (np.maximum(counts / max(counts.sum(), 1), _MIN_SHARE) for counts in (older, newer))
    index = ((other - one) * np.log(other / one)).sum()
    chance = (len(older) - 1) * sum(1 / max(counts.sum(), 1) for counts in (older, newer))
    return round(max(0.0, float(index - chance)), 4)
