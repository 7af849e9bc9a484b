"""Assigns records to sides by the digest of their input. Pure: no record ever changes sides."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import pyarrow as pa

Side = Literal["train", "validation", "test"]
SIDES: tuple[Side, ...] = get_args(Side)


def side(input_digest: str) -> Side:
    """90 % train, 5 % validation, 5 % test, by the first 64 bits; a corrected label does not move a record."""
    position = int(input_digest[:16], 16) / 2**64
    return "train" if position < 0.90 else "validation" if position < 0.95 else "test"


def by_digest(contract: Any, rows: pa.Table) -> dict[Side, pa.Table]:
    """The records of each side, in the order of their digests, for a kind that is split so."""
    rows = rows.sort_by([("record", "ascending")])
    sides = [side(digest) for digest in rows["input"].to_pylist()]
    return {name: rows.filter(pa.array([each == name for each in sides], pa.bool_())) for name in SIDES}


def side_by_digest(row: Mapping[str, Any]) -> str:
    """The side of one record, for a kind that is split so."""
    return side(row["input"])
