"""Assigns records to sides by the digest of their input. Pure: no record ever changes sides."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import pyarrow as pa

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


def side_by_digest(contract: Any, row: Mapping[str, Any]) -> str:
    """The side of one record, for a kind that is split so."""
    return side(row["input"])
