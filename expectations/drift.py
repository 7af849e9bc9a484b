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
    found = []
    for name in sorted(set(older[0].quantiles) & set(newer[0].quantiles)):
        edges = np.unique(np.quantile(_drawn(older, name), np.linspace(0, 1, _BINS + 1)[1:-1]))
        found.append(Drift(name, _index(*(_binned(side, name, edges) for side in (older, newer)))))
    names = sorted({label for side in (*older, *newer) for label in side.labels})
    if names:
        counts = [np.array([sum(s.labels.get(n, 0) for s in side) for n in names], float) for side in (older, newer)]
        found.append(Drift("label", _index(*(c / max(c.sum(), 1) for c in counts))))
    return tuple(found)


def _drawn(side: Sequence[Summary], name: str) -> np.ndarray:
    """Its quantiles, as often as each batch has thousands of records: a sample of the whole."""
    return np.concatenate([np.repeat(s.quantiles[name], max(1, s.rows // 1000)) for s in side])


def _binned(side: Sequence[Summary], name: str, edges: np.ndarray) -> np.ndarray:
    drawn = _drawn(side, name)
    return np.bincount(np.searchsorted(edges, drawn, side="left"), minlength=len(edges) + 1) / len(drawn)


def _index(older: np.ndarray, newer: np.ndarray) -> float:
    one, other = np.maximum(older, _LEAST), np.maximum(newer, _LEAST)
    return round(float(((other - one) * np.log(other / one)).sum()), 4)
