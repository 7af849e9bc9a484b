"""The table of statistics that a suite checks: one row per record, with its input's properties, label and age."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from ratchet import clock
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
    labels = tasks.labels(recipe.answers.task).statistics(recipe.answers, [])
    return ("record", *labels, *names(recipe).values(), "duplicate", "age_days")


def names(recipe: Recipe) -> Mapping[str, str]:
    """The names in the table of what is measured of an input, whose column may have the name of one of ours."""
    labels = tasks.labels(recipe.answers.task).statistics(recipe.answers, [])
    taken = {"record", "label", *labels, "duplicate", "age_days"}
    own = kinds.records(recipe.contract.kind).statistics(recipe.contract, [])
    return {name: f"{name} (column)" if name in taken else name for name in own}


def of_batch(recipe: Recipe, home: Path, batch: str, where: str = "landing") -> pd.DataFrame:
    """The statistics of the records of the batch in the table `where`, `landing` or `records`.

    Of more than `SAMPLE` records (or of the suite's `min_rows`, if these are more) it is a sample, those with the
    smallest digests; ingest has held each record to the contract. Labels are counted over all records, and a series is
    measured whole. `duplicate` is 1 if the same input is earlier in the batch, or among the admitted records.
    """
    rows = table.rows(home / where, [*_COLUMNS, recipe.contract.column], where=("batch", batch))
    return _frame(recipe, rows or _in_memory(None), _seen(home))


def of_records(recipe: Recipe, records: pa.Table) -> pd.DataFrame:
    """The statistics of records that are not in the lake."""
    return _frame(recipe, _in_memory(records), np.empty(0, np.uint64))


_COLUMNS = ("record", "input", "label", "captured_at")


def _in_memory(records: pa.Table | None) -> Rows:
    return Rows(records.schema if records else pa.schema([]), lambda: iter(records.to_batches() if records else ()))


def _seen(home: Path) -> np.ndarray:
    """The keys [N] of the admitted inputs, sorted."""
    admitted = table.rows(home / "records", ["input"])
    return np.sort(_keys(admitted)) if admitted else np.empty(0, np.uint64)


def _keys(rows: Rows) -> np.ndarray:
    """The first eight bytes of each digest [N]: that two of ten million inputs share them is improbable (3e-6)."""
    parts = [digest_bytes([part["input"]]).view(">u8").reshape(-1, 4)[:, 0] for part in rows.parts()]
    return np.concatenate(parts).astype(np.uint64) if parts else np.empty(0, np.uint64)


def _frame(recipe: Recipe, rows: Rows, seen: np.ndarray) -> pd.DataFrame:
    import pandas as pd

    kind = kinds.records(recipe.contract.kind)
    inputs = _keys(rows)
    chosen = _chosen(inputs, len(inputs) if kind.NEEDS_NEIGHBOURS else max(SAMPLE, recipe.suite.min_rows))
    labels = [label for part in rows.parts() for label in part["label"].to_pylist()]
    measured = tasks.labels(recipe.answers.task).statistics(recipe.answers, labels)
    columns_ = {name: [values[i] for i in chosen] for name, values in measured.items()}
    columns_ |= {"duplicate": _duplicate(inputs, seen)[chosen].tolist(), **_measured(recipe, rows, chosen)}
    return pd.DataFrame(columns_, columns=list(columns(recipe)))


def _measured(recipe: Recipe, rows: Rows, chosen: np.ndarray) -> dict[str, list[Any]]:
    """The digest, the age and the properties of each of the chosen records; only figures are kept of a part."""
    kind, now = kinds.records(recipe.contract.kind), clock.utc()
    named = names(recipe)
    records_, ages = list[str](), list[float]()
    own: dict[str, list[Any]] = {name: [] for name in named}
    whole: list[Mapping[str, Any]] = []
    start = 0
    for part in rows.parts():
        here = chosen[(chosen >= start) & (chosen < start + part.num_rows)] - start
        records = part.take(pa.array(here)).to_pylist()
        records_ += [record["record"] for record in records]
        ages += [(now - record["captured_at"]).total_seconds() / 86400 for record in records]
        if kind.NEEDS_NEIGHBOURS:
            whole += records
        else:
            _extend(own, kind.statistics(recipe.contract, records))
        start += part.num_rows
    if kind.NEEDS_NEIGHBOURS:
        _extend(own, kind.statistics(recipe.contract, whole))
    return {"record": records_, "age_days": ages, **{new: own[name] for name, new in named.items()}}


def _extend(result: dict[str, list[Any]], more: Mapping[str, Sequence[Any]]) -> None:
    for name, values in more.items():
        result[name] += list(values)


def _chosen(inputs: np.ndarray, count: int) -> np.ndarray:
    """The places of so many records, in order: those with the smallest keys [N]."""
    if len(inputs) <= count:
        return np.arange(len(inputs))
    return np.sort(np.argpartition(inputs, count)[:count])


def _duplicate(inputs: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """1 for each of the keys [N] that is there before, or among those that are `seen` and sorted [M]."""
    duplicate = np.ones(len(inputs), int)
    duplicate[np.unique(inputs, return_index=True)[1]] = 0
    if len(seen):
        duplicate[seen[np.searchsorted(seen, inputs).clip(max=len(seen) - 1)] == inputs] = 1
    return duplicate
