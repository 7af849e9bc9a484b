"""Assigns records to sides. Pure. By the digest of their input no record ever changes sides; by time it may."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Side = Literal["train", "validation", "test"]
SIDES: tuple[Side, ...] = get_args(Side)
_BY = "digest that decides"


def side(input_digest: str) -> Side:
    """90 % train, 5 % validation, 5 % test, by the first 64 bits; a corrected label does not move a record."""
    position = int(input_digest[:16], 16) / 2**64
    return "train" if position < 0.90 else "validation" if position < 0.95 else "test"


def by_digest(contract: Any, rows: pa.Table, digests: Sequence[str] | None = None) -> dict[Side, pa.Table]:
    """The records of each side, in the order of their digests: by that of their input, or by one that is given."""
    rows = rows.append_column(_BY, pa.array(rows["input"].to_pylist() if digests is None else digests, pa.string()))
    rows = rows.sort_by([("record", "ascending")])
    sides = [side(digest) for digest in rows[_BY].to_pylist()]
    rows = rows.drop_columns([_BY])
    return {name: rows.filter(pa.array([each == name for each in sides], pa.bool_())) for name in SIDES}


_VALIDATION_FROM = 0.90


def trained_until(times: pa.ChunkedArray) -> datetime | None:
    """The time of the oldest record that `by_time` does not train on, of those captured at `times` [N]."""
    ordered = np.sort(times.cast(pa.int64()).to_numpy())
    if not len(ordered):
        return None
    return datetime.fromtimestamp(int(ordered[int(_VALIDATION_FROM * len(ordered))]) / 1e6, UTC)


def by_time(rows: pa.Table) -> dict[Side, pa.Table]:
    """The oldest 90 % for training, the next 5 % for validation and the newest 5 % for the test.

    Records of the same time are on one side, so it may be none that a side gets.
    """
    rows = rows.sort_by([("record", "ascending")])
    moments = rows["captured_at"].cast(pa.int64()).to_numpy()
    if not len(moments):
        return dict.fromkeys(SIDES, rows)
    ordered = np.sort(moments)
    first, second = (ordered[int(share * len(ordered))] for share in (_VALIDATION_FROM, 0.95))
    masks = {"train": moments < first, "validation": (moments >= first) & (moments < second), "test": moments >= second}
    return {name: rows.filter(pa.array(masks[name])) for name in SIDES}


def window(rows: pa.Table, recent: int, replay: int) -> pa.Table:
    """The newest `recent` records, and of the older ones the `replay` with the smallest digests; in the same order.

    All of them if `recent` is 0.
    """
    if not recent or rows.num_rows <= recent:
        return rows
    newest = pc.sort_indices(rows, [("captured_at", "descending"), ("record", "ascending")]).to_numpy()[:recent]
    by_digest = pc.sort_indices(rows, [("record", "ascending")]).to_numpy()
    older = by_digest[~np.isin(by_digest, newest)]
    return rows.take(np.sort(np.concatenate([newest, older[:replay]])))


def side_by_digest(contract: Any, row: Mapping[str, Any]) -> str:
    """The side of one record, for a kind that is split so."""
    return side(row["input"])
