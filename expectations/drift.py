"""How far newer batches are from those before them, column by column. Pure.

By the population stability index over ten bins that hold a tenth of the older records each: below 0.1 little changed,
from 0.25 on it is another population. Source: Siddiqi, Credit Risk Scorecards, 2006; Yurdakul, Statistical Properties
of Population Stability Index, 2018.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ratchet.words import Drift

if TYPE_CHECKING:
    import pandas as pd

_LEAST = 1e-4
_BINS, _POINTS = 10, 101
_OUT = ("record", "label", "class_share", "duplicate", "age_days")


@dataclass(frozen=True)
class Summary:
    """What is kept of a batch's figures: its quantiles at every hundredth, by column; its labels' counts by number."""

    rows: int
    quantiles: Mapping[str, tuple[float, ...]]
    labels: Mapping[str, int]


def summary(frame: pd.DataFrame) -> Summary:
    """Of the table that the suite looks at."""
    at = np.linspace(0, 1, _POINTS)
    columns = [name for name in frame.columns if name not in _OUT and len(frame)]
    quantiles = {name: tuple(map(float, np.quantile(frame[name].to_numpy(float), at))) for name in columns}
    labels = frame["label"].value_counts() if "label" in frame else {}
    return Summary(len(frame), quantiles, {str(k): int(n) for k, n in sorted(dict(labels).items())})


def since(older: Sequence[Summary], newer: Sequence[Summary]) -> tuple[Drift, ...]:
    """The index of every column, and of the labels, of newer batches against older; nothing where either is empty."""
    older, newer = ([one for one in side if one.rows] for side in (older, newer))
    if not older or not newer:
        return ()
    counts = tuple(sum(one.rows for one in side) for side in (older, newer))
    found, both = [], [*older, *newer]
    for name in sorted(set.intersection(*(set(one.quantiles) for one in both))):
        values, weights = _drawn(older, name)
        at = np.linspace(0, 1, _BINS + 1)[1:-1]
        edges = np.unique(np.quantile(values, at, weights=weights, method="inverted_cdf"))
        found.append(Drift(name, _index(_binned(older, name, edges), _binned(newer, name, edges), counts)))
    names = sorted({label for one in both for label in one.labels})
    if names:
        shares = [np.array([sum(s.labels.get(n, 0) for s in side) for n in names], float) for side in (older, newer)]
        found.append(Drift("label", _index(shares[0] / shares[0].sum(), shares[1] / shares[1].sum(), counts)))
    return tuple(found)


def _drawn(side: Sequence[Summary], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Its quantiles, and the records that each of them stands for."""
    values = np.concatenate([s.quantiles[name] for s in side])
    return values, np.concatenate([np.full(len(s.quantiles[name]), s.rows / len(s.quantiles[name])) for s in side])


def _binned(side: Sequence[Summary], name: str, edges: np.ndarray) -> np.ndarray:
    values, weights = _drawn(side, name)
    found = np.bincount(np.searchsorted(edges, values, side="left"), weights, minlength=len(edges) + 1)
    return np.asarray(found / found.sum())


def _index(older: np.ndarray, newer: np.ndarray, counts: tuple[int, ...]) -> float:
    """Less what two draws of one population have on average, by Yurdakul; nothing at least."""
    one, other = np.maximum(older, _LEAST), np.maximum(newer, _LEAST)
    chance = (len(older) - 1) * sum(1 / n for n in counts)
    return round(max(0.0, float(((other - one) * np.log(other / one)).sum()) - chance), 4)
