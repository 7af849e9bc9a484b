"""The table of statistics that a suite checks: one row per record, with its input's properties, label and age."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ratchet.kinds import parts as kinds
from ratchet.lake import table
from ratchet.recipe import Recipe
from ratchet.tasks import parts as tasks

if TYPE_CHECKING:
    import pandas as pd


def columns(recipe: Recipe) -> tuple[str, ...]:
    """The columns of the table, for this kind of input and this task."""
    return ("record", *_own(recipe, ()), "duplicate", "age_days")


def _own(recipe: Recipe, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    labels = tasks.labels(recipe.answers.task).statistics([record["label"] for record in records])
    return {**labels, **kinds.records(recipe.contract.kind).statistics(recipe.contract, records)}


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
    now = datetime.now(UTC)
    return pd.DataFrame({
        "record": [record["record"] for record in records],
        **_own(recipe, records),
        "duplicate": duplicate,
        "age_days": [(now - record["captured_at"]).total_seconds() / 86400 for record in records],
    }, columns=list(columns(recipe)))  # fmt: skip
