"""The table of statistics that a suite checks: one row per record, with its input's properties, label and age."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from ratchet.kinds import parts as kinds
from ratchet.lake import table
from ratchet.lake.rows import Rows, digest_bytes
from ratchet.recipe import Recipe
from ratchet.tasks import parts as tasks

if TYPE_CHECKING:
    import pandas as pd


SAMPLE = 200_000
"""Records of a batch that are measured one by one."""


def columns(recipe: Recipe) -> tuple[str, ...]:
    """The columns of the table, for this kind of input and this task."""
    return ("record", *_own(recipe, ()), "duplicate", "age_days")


def _own(recipe: Recipe, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    labels = tasks.labels(recipe.answers.task).statistics([record["label"] for record in records])
    return {**labels, **kinds.records(recipe.contract.kind).statistics(recipe.contract, records)}


def of_batch(recipe: Recipe, home: Path, batch: str, where: str = "landing") -> pd.DataFrame:
    """The statistics of the records of the batch in the table `where`, `landing` or `records`.

    Of more than `SAMPLE` records (or of the suite's `min_rows`, if these are more) it is a sample, those with the
    smallest digests; ingest has held each record to the contract. `duplicate` is 1 if the same input is earlier in the
    batch, or among the admitted records.
    """
    rows = table.rows(home / where, where=("batch", batch))
    return _frame(recipe, _measured(recipe, rows, _seen(home)) if rows else [])


def of_records(recipe: Recipe, records: pa.Table) -> pd.DataFrame:
    """The statistics of records that are not in the lake."""
    rows = Rows(records.schema, lambda: iter(records.to_batches()))
    return _frame(recipe, _measured(recipe, rows, np.empty(0, "S32")))


def _seen(home: Path) -> np.ndarray:
    """The digests [N] of the admitted inputs, sorted."""
    admitted = table.rows(home / "records", ["input"])
    return np.sort(digest_bytes(part["input"] for part in admitted.parts())) if admitted else np.empty(0, "S32")


def _measured(recipe: Recipe, rows: Rows, seen: np.ndarray) -> list[dict[str, Any]]:
    """The sampled records, each with whether it is a duplicate."""
    inputs = digest_bytes(part["input"] for part in rows.parts())
    duplicate = np.ones(len(inputs), bool)
    duplicate[np.unique(inputs, return_index=True)[1]] = False
    if len(seen):
        at = np.searchsorted(seen, inputs).clip(max=len(seen) - 1)
        duplicate |= seen[at] == inputs
    size = max(SAMPLE, recipe.suite.min_rows)
    last = np.partition(inputs, size - 1)[size - 1] if len(inputs) > size else None
    chosen = np.ones(len(inputs), bool) if last is None else inputs <= last
    records, start = [], 0
    for part in rows.parts():
        stop = start + part.num_rows
        kept = part.filter(pa.array(chosen[start:stop])).to_pylist()
        flags = duplicate[start:stop][chosen[start:stop]].tolist()
        records += [{**record, "duplicate": int(flag)} for record, flag in zip(kept, flags, strict=True)]
        start = stop
    return records


def _frame(recipe: Recipe, records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    now = datetime.now(UTC)
    return pd.DataFrame({
        "record": [record["record"] for record in records],
        **_own(recipe, records),
        "duplicate": [record["duplicate"] for record in records],
        "age_days": [(now - record["captured_at"]).total_seconds() / 86400 for record in records],
    }, columns=list(columns(recipe)))  # fmt: skip
