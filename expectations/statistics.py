"""The table that a suite looks at: one row a record, figures of its image, its label, its age."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ratchet.lake import table
from ratchet.recipe import Recipe

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "record",
    "label",
    "height",
    "width",
    "minimum",
    "maximum",
    "mean",
    "deviation",
    "duplicate",
    "class_share",
    "age_days",
)


def of_batch(recipe: Recipe, home: Path, batch: str) -> pd.DataFrame:
    """`COLUMNS` for every landed record of the batch.

    `duplicate` is 1 where the same image stands earlier in the batch or in the admitted records.
    """
    import pandas as pd

    rows = table.read(home / "landing", where=("batch", batch))
    records = rows.to_pylist() if rows is not None else []
    width = recipe.contract.width
    images = np.array([np.frombuffer(r["image"], recipe.contract.dtype) for r in records]).reshape(len(records), -1)
    images = images.astype(np.float64)
    admitted = table.read(home / "records", ["input"])
    seen = Counter(admitted["input"].to_pylist() if admitted is not None else ())
    duplicate = []
    for record in records:
        duplicate.append(int(seen[record["input"]] > 0))
        seen[record["input"]] += 1
    sizes = Counter(r["label"] for r in records)
    now = datetime.now(UTC)
    empty = not len(records)
    return pd.DataFrame({
        "record": [r["record"] for r in records],
        "label": [r["label"] for r in records],
        "height": [len(r["image"]) // width for r in records],
        "width": [width] * len(records),
        "minimum": [] if empty else images.min(axis=1), "maximum": [] if empty else images.max(axis=1),
        "mean": [] if empty else images.mean(axis=1), "deviation": [] if empty else images.std(axis=1),
        "duplicate": duplicate, "class_share": [sizes[r["label"]] / len(records) for r in records],
        "age_days": [(now - r["captured_at"]).total_seconds() / 86400 for r in records],
    }, columns=list(COLUMNS))  # fmt: skip
