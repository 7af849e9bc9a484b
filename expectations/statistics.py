"""The table of statistics that a suite checks: one row per record, with its input's properties, label and age."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ratchet.kinds import parts
from ratchet.lake import table
from ratchet.recipe import Recipe

if TYPE_CHECKING:
    import pandas as pd


def columns(recipe: Recipe) -> tuple[str, ...]:
    """The columns of the table for this kind of input."""
    labelled = ("label", "class_share") if recipe.classes else ()
    return ("record", *labelled, *parts.records(recipe.contract.kind).STATISTICS, "duplicate", "age_days")


def of_batch(recipe: Recipe, home: Path, batch: str, where: str = "landing") -> pd.DataFrame:
    """The statistics of every record of the batch in the table `where`, `landing` or `records`.

    `duplicate` is 1 if the same input is earlier in the batch, or among the admitted records.
    """
    import pandas as pd

    rows = table.read(home / where, where=("batch", batch))
    records = rows.to_pylist() if rows is not None else []
    admitted = table.read(home / "records", ["input"])
    seen = Counter(admitted["input"].to_pylist() if admitted is not None else ())
    duplicate = []
    for record in records:
        duplicate.append(int(seen[record["input"]] > 0))
        seen[record["input"]] += 1
    now, sizes = datetime.now(UTC), Counter(r["label"] for r in records)
    own = parts.records(recipe.contract.kind).statistics(recipe.contract, records)
    return pd.DataFrame({
        "record": [r["record"] for r in records], "label": [r["label"] for r in records],
        "class_share": [sizes[r["label"]] / len(records) for r in records], **own, "duplicate": duplicate,
        "age_days": [(now - r["captured_at"]).total_seconds() / 86400 for r in records],
    }, columns=list(columns(recipe)))  # fmt: skip
