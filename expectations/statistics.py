"""The table of statistics that a suite checks: one row per record, with its input's properties, label and age."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ratchet import clock
from ratchet.kinds import parts as kinds
from ratchet.lake import seen, table
from ratchet.lake.rows import Rows
from ratchet.recipe import Recipe
from ratchet.tasks import parts as tasks

if TYPE_CHECKING:
    import pandas as pd


SAMPLE = 200_000
"""Records of a batch that are measured one by one."""


def columns(recipe: Recipe) -> tuple[str, ...]:
    """The columns of the table, for this kind of input and this task."""
    labels = tasks.labels(recipe.answers.task).statistics(recipe.answers, [], {})
    return ("record", *labels, *names(recipe).values(), "duplicate", "age_days")


def names(recipe: Recipe) -> Mapping[str, str]:
    """The names in the table of what is measured of an input, whose column may have the name of one of ours."""
    labels = tasks.labels(recipe.answers.task).statistics(recipe.answers, [], {})
    taken = {"record", "label", *labels, "duplicate", "age_days"}
    own = kinds.records(recipe.contract.kind).statistics(recipe.contract, [])
    return {name: f"{name} (column)" if name in taken else name for name in own}


def of_batch(recipe: Recipe, home: Path, batch: str, where: str = "landing") -> pd.DataFrame:
    """The statistics of the records of the batch in the table `where`, `landing` or `records`.

    Of more than `SAMPLE` records (or of the suite's `min_rows`, if these are more) it is a sample, those with the
    smallest digests; ingest has held each record to the contract. Labels are counted over all records, and a series is
    measured whole. `duplicate` is 1 if the same input is earlier in the batch, or among the admitted records.
    """
    path = home / where
    version = table.version(path)  # all columns are read of the same one

    def read(columns: list[str]) -> Rows:
        return (table.rows(path, columns, ("batch", batch), version) if version >= 0 else None) or _in_memory(None)

    return _frame(recipe, read, partial(seen.among, home / "records"))


def of_records(recipe: Recipe, records: pa.Table) -> pd.DataFrame:
    """The statistics of records that are not in the lake."""
    return _frame(recipe, lambda columns: _in_memory(records.select(columns)), lambda keys: np.zeros(len(keys), bool))


def _in_memory(records: pa.Table | None) -> Rows:
    return Rows(records.schema if records else pa.schema([]), lambda: iter(records.to_batches() if records else ()))


Read = Callable[[list[str]], Rows]
"""The records of a batch with these columns. A column is read where it is needed: inputs may be large."""


def _frame(recipe: Recipe, read: Read, is_admitted: Callable[[np.ndarray], np.ndarray]) -> pd.DataFrame:
    import pandas as pd

    kind, task = kinds.records(recipe.contract.kind), tasks.labels(recipe.answers.task)
    inputs = seen.keys(part["input"] for part in read(["input"]).parts())
    chosen = _chosen(inputs, len(inputs) if kind.NEEDS_NEIGHBOURS else max(SAMPLE, recipe.suite.min_rows))
    own = _measured(recipe, read, chosen)
    counts = _label_counts(read(["label"])) if task.SHARES else {}
    is_duplicate = _is_repeated(inputs) | is_admitted(inputs)
    columns_ = {**task.statistics(recipe.answers, own.pop("label"), counts), **own}
    columns_["duplicate"] = is_duplicate[chosen].astype(int).tolist()
    return pd.DataFrame(columns_, columns=list(columns(recipe)))


def _label_counts(rows: Rows) -> Counter[Any]:
    """How many records of the batch have each label."""
    counts = Counter[Any]()
    for part in rows.parts():
        for each in pc.value_counts(part["label"]).to_pylist():
            counts[each["values"]] += each["counts"]
    return counts


def _measured(recipe: Recipe, read: Read, chosen: np.ndarray) -> dict[str, list[Any]]:
    """Label, digest, age and the properties of each of the chosen records; only figures are kept of a part."""
    kind, now = kinds.records(recipe.contract.kind), clock.utc()
    named = names(recipe)
    kept: dict[str, list[Any]] = {"label": [], "record": [], "age_days": []}
    own: dict[str, list[Any]] = {name: [] for name in named}
    whole: list[Mapping[str, Any]] = []
    start = 0
    for part in read(["record", "label", "captured_at", recipe.contract.column]).parts():
        places = chosen[np.searchsorted(chosen, start) : np.searchsorted(chosen, start + part.num_rows)] - start
        sampled = part.take(pa.array(places))
        records = sampled.to_pylist()
        kept["label"] += sampled["label"].to_pylist()
        kept["record"] += sampled["record"].to_pylist()
        kept["age_days"] += _days_before(now, sampled["captured_at"])
        if kind.NEEDS_NEIGHBOURS:
            whole += records
        else:
            _extend(own, kind.statistics(recipe.contract, records))
        start += part.num_rows
    if kind.NEEDS_NEIGHBOURS:
        _extend(own, kind.statistics(recipe.contract, whole))
    return {**kept, **{new: own[name] for name, new in named.items()}}


def _days_before(now: datetime, times: pa.Array) -> list[float]:
    microseconds = times.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_numpy()
    days: list[float] = ((now.timestamp() - microseconds / 1e6) / 86400).tolist()
    return days


def _extend(result: dict[str, list[Any]], more: Mapping[str, Sequence[Any]]) -> None:
    for name, values in more.items():
        result[name] += list(values)


def _chosen(inputs: np.ndarray, count: int) -> np.ndarray:
    """The places of so many records, in order: those with the smallest keys [N]."""
    if len(inputs) <= count:
        return np.arange(len(inputs))
    return np.sort(np.argpartition(inputs, count)[:count])


def _is_repeated(inputs: np.ndarray) -> np.ndarray:
    """Whether each of the keys [N] is there before in the batch [N]."""
    repeated = np.ones(len(inputs), bool)
    repeated[np.unique(inputs, return_index=True)[1]] = False
    return repeated
