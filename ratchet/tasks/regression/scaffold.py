"""Outlines a recipe whose answers are numbers."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from ratchet.lake.outline import Fields, quoted

_MANY = 30
"""Different numbers above which they are no classes."""
_MOSTLY = 0.8


def fit(labels: Sequence[str | None]) -> float:
    """1 for many different numbers, also if some labels are none, which ingest will refuse."""
    known = [label for label in labels if not _is_missing(label)]
    numbers = [label for label in known if _is_number(label)]
    return 1.0 if len(set(numbers)) > _MANY and len(numbers) > _MOSTLY * len(known) else 0.0


def _is_missing(label: str | None) -> bool:
    return label is None or label.strip().lower() in ("", "na", "nan", "null", "none")


def _is_number(label: str | None) -> bool:
    try:
        return math.isfinite(float(str(label)))
    except ValueError:
        return False


def fields(rows: pa.Table, source: Path) -> Fields:
    """The range with room at both ends, and the error of the best constant; every sixth record is benchmark."""
    values = np.array([float(label) for label in rows["label"].to_pylist() if _is_number(label)])
    room = (values.max() - values.min()) / 4
    low, high = math.floor(values.min() - room), math.ceil(values.max() + room)
    error = float(np.abs(values - np.median(values)).mean())
    return {
        "task": f"    task=Regression({low}, {high}, close={error / 5:.2g}),  # the range is a guess\n",
        "purpose": quoted(f"Predicts a number for an input of {source.name}."),
        "batch": f"Feed({quoted(source.name)}, every=-6)",
        "benchmark": f"Feed({quoted(source.name)}, every=6)",
        "share": "",
        "criteria": f"RegressionCriteria(error={error:.4g})",
    }
