"""Outlines a recipe for records with several labels."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from ratchet.bounds import MAX_NAME
from ratchet.errors import Refusal
from ratchet.lake.outline import Fields, quoted
from ratchet.settings import is_printable

_SEPARATORS = ("|", ";", ",")
_MOST = 200
_NONE = "none"
_SEVERAL = 0.1
"""The share of records with more than one label above which labels are taken for lists."""


def fit(labels: Sequence[str | None]) -> float:
    """0.8 if a separator parts the labels of many records into few names that come often."""
    known = [label for label in labels if label]
    for separator in _SEPARATORS:
        several = sum(separator in label for label in known)
        names = {name.strip() for label in known for name in label.split(separator)}
        if several > _SEVERAL * len(known) and "" not in names and 2 <= len(names) < min(_MOST, len(set(known)) + 2):
            return 0.8
    return 0.0


def fields(rows: pa.Table, source: Path) -> Fields:
    """Thresholds a little above those of the best constant; every sixth record is benchmark."""
    labels = rows["label"].drop_null().to_pylist()
    separator = next(each for each in _SEPARATORS if sum(each in label for label in labels) > _SEVERAL * len(labels))
    sets = [{name.strip() for name in label.split(separator)} - {_NONE} for label in labels]
    counts = Counter(name for names in sets for name in names)
    for name in counts:
        if len(name) > MAX_NAME or not is_printable(name):
            what = f"{name[:40]!r}, which {separator!r} separates from others, cannot be the name of a label"
            raise Refusal(what, source, f"Give names of at most {MAX_NAME} printable characters")
    shares = np.array(list(counts.values())) / len(labels)
    constant = float(np.maximum(shares, 1 - shares).mean())
    by = f", separator={quoted(separator)}" if separator != "|" else ""
    names = ", ".join(map(quoted, sorted(counts)))
    return {
        "task": f"    task=MultiLabel(({names},){by}),\n",
        "purpose": quoted(f"Predicts which of {len(counts)} labels an input of {source.name} has."),
        "batch": f"Feed({quoted(source.name)}, every=-6)",
        "benchmark": f"Feed({quoted(source.name)}, every=6)",
        "share": f", min_class_share={shares.min() / 3:.2g}",
        "without": "boosting",
        "criteria": f"MultiLabelCriteria(accuracy={math.floor(1000 * (constant + (1 - constant) / 10)) / 1000})",
    }
