"""Outlines a recipe for records with several labels."""

import json
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
from ratchet.tasks.multilabel.answers import split

_SEPARATORS = ("|", ";", ",")
_MOST = 200
_NONE = "none"
_MISSING = 0.01
"""The share of records without a label above which they are taken for records that have none."""
_SEVERAL = 0.1
"""The share of records with more than one label above which labels are taken for lists."""


def fit(labels: Sequence[str | None]) -> float:
    """1 for lists, and 0.8 for texts that a separator parts into few names that come often."""
    known = [label for label in labels if label]
    if known and all(map(_is_list, known)):
        return 1.0
    return 0.8 if _separator(known) else 0.0


def _separator(labels: Sequence[str]) -> str:
    """What parts labels into names; empty if nothing does.

    Records have one, two or more names, so that `city, state` is none; and numbers may have a decimal comma.
    """
    for separator in _SEPARATORS:
        sets = [[name.strip() for name in label.split(separator)] for label in labels]
        names, sizes = {name for each in sets for name in each}, {len(each) for each in sets}
        several = sum(len(each) > 1 for each in sets) > _SEVERAL * len(sets)
        few = 2 <= len(names) < min(_MOST, len(set(labels)) + 2)
        if (
            several
            and few
            and len(sizes) > 1
            and "" not in names
            and not (separator == "," and all(map(_is_number, names)))
        ):
            return separator
    return ""


def _is_list(label: str) -> bool:
    try:
        return label.startswith("[") and isinstance(json.loads(label), list)
    except (ValueError, RecursionError):
        return False


def _is_number(name: str) -> bool:
    return name.replace(".", "", 1).lstrip("+-").isdecimal()


def fields(rows: pa.Table, source: Path) -> Fields:
    """Thresholds a little above those of the best constant; every sixth record is benchmark."""
    labels, missing = rows["label"].drop_null().to_pylist(), rows["label"].null_count
    none_is_missing = missing > _MISSING * rows.num_rows
    detected = _separator(labels)
    sets = [split(label, detected or _SEPARATORS[0], _NONE) for label in labels]
    counts = Counter(name for names in sets for name in names)
    if len(counts) < 2 or len(counts) > _MOST:
        what = f"its lists have {len(counts)} different labels"
        raise Refusal(what, source, f"Give from 2 to {_MOST} labels that come often")
    for name in counts:
        if len(name) > MAX_NAME or not is_printable(name):
            raise Refusal(f"{name[:40]!r} cannot be the name of a label", source,
                          f"Give names of at most {MAX_NAME} printable characters")  # fmt: skip
    separator = detected or next((each for each in _SEPARATORS if not any(each in name for name in counts)), "|")
    shares = np.array(list(counts.values())) / (rows.num_rows if none_is_missing else len(labels))
    constant = float(np.maximum(shares, 1 - shares).mean())
    by = f", separator={quoted(separator)}" if separator != "|" else ""
    by += ', none=""' if none_is_missing else ""
    names = ", ".join(map(quoted, sorted(counts)))
    return {
        "task": f"    task=MultiLabel(({names},){by}),\n",
        "purpose": quoted(f"Predicts which of {len(counts)} labels an input of {source.name} has."),
        "batch": f"Feed({quoted(source.name)}, every=-6)",
        "benchmark": f"Feed({quoted(source.name)}, every=6)",
        "share": f", min_class_share={shares.min() / 3:.2g}",
        "criteria": f"MultiLabelCriteria(accuracy={math.floor(1000 * (constant + (1 - constant) / 10)) / 1000})",
    }
