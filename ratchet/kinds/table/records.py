"""How the lake keeps rows of a table, what is measured of them, and what a batch of them must be."""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from ratchet.errors import Refusal
from ratchet.expectation import Expectation, complete, values
from ratchet.kinds.table.column import Column
from ratchet.kinds.table.contract import TableContract
from ratchet.kinds.table.logged import measured, value_of
from ratchet.lake import split
from ratchet.lake.split import Side
from ratchet.suite import Suite

TYPE = pa.string()
NEEDS_NEIGHBOURS = False


def cell(data: bytes) -> str:
    """The row as JSON."""
    return data.decode()


def sides(contract: TableContract, rows: pa.Table) -> Mapping[Side, pa.Table]:
    """By time, or by the digest of the input, or of `split_by`: then all rows with the same value are on one side."""
    if contract.split == "time":
        return split.by_time(rows)
    if not contract.split_by or not rows.num_rows:
        return split.by_digest(contract, rows)
    cells = zip(rows["row"].to_pylist(), rows["input"].to_pylist(), strict=True)
    return split.by_digest(contract, rows, [_split_digest(contract, row, digest) for row, digest in cells])


def side_of(contract: TableContract, row: Mapping[str, Any]) -> str:
    """The side of one record, for people."""
    if contract.split == "time":
        return "by time"
    return split.side(_split_digest(contract, row["row"], row["input"]) if contract.split_by else row["input"])


def _split_digest(contract: TableContract, row: str, digest: str) -> str:
    """Of the value that decides the side; a row without one is alone."""
    value = json.loads(row).get(contract.split_by)
    return digest if value is None else hashlib.sha256(json.dumps(value).encode()).hexdigest()


def is_in_order(contract: TableContract) -> bool:
    return contract.split == "time"


def examples(contract: TableContract, rows: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """A structured array [N] of the features, labels [N], and weights [N] if a column has them."""
    inputs, labels = np.empty(rows.num_rows, contract.dtype), rows["label"].to_numpy()
    if not rows.num_rows:
        return inputs, labels, np.zeros(0) if contract.weight else None
    columns = _columns(contract, rows)
    for column in contract.feature_columns:
        inputs[column.name] = columns[column.name]
    if not contract.weight:
        return inputs, labels, None
    weights = columns[contract.weight]
    if np.isnan(weights).any():
        raise _changed(f"some have no {contract.weight!r}, which is the weight")
    return inputs, labels, weights


def _columns(contract: TableContract, rows: pa.Table) -> Mapping[str, np.ndarray]:
    """The values [N] of each column. A column that the recipe added later has none in older rows."""
    from pyarrow import json as arrow_json

    schema = pa.schema([(column.name, pa.string() if column.is_text else pa.float64()) for column in contract.columns])
    options = arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    lines = io.BytesIO("\n".join(rows["row"].to_pylist()).encode())
    try:
        table = arrow_json.read_json(lines, arrow_json.ReadOptions(use_threads=False), options)
    except pa.ArrowInvalid as error:
        raise _changed(str(error).splitlines()[0][:120]) from error
    return {column.name: _values(column, table[column.name]) for column in contract.columns}


def _values(column: Column, cells: pa.ChunkedArray) -> np.ndarray:
    dtype = np.dtype(column.dtype)
    if column.is_text and len(cells) and (pc.max(pc.utf8_length(cells)).as_py() or 0) > dtype.itemsize // 4:
        raise _changed(f"the column {column.name!r} has longer values")
    return np.asarray(cells.fill_null(column.nothing).to_numpy(zero_copy_only=False), dtype)


def _changed(why: str) -> Refusal:
    what = f"older rows do not fit the recipe's columns ({why})"
    return Refusal(what, "the lake", "Change the columns back, or give the recipe another name")


def served(contract: TableContract, input: np.ndarray, name: str, at: datetime) -> Any:
    """The row with the request as its id and its time, which are no features; other such columns are missing."""
    own = {contract.id: name} if contract.id else {}
    when = {contract.time: at} if contract.time else {}
    return {**contract.values(input)[0], **own, **when}


def statistics(contract: TableContract, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The value of each column; None where it is missing."""
    rows = [orjson.loads(record["row"]) for record in records]
    return {
        column.name: [value_of(column, row.get(column.name)) for row in rows]
        if column.type == "text"
        else [row.get(column.name) for row in rows]
        for column in measured(contract)
    }


def expectations(contract: TableContract, suite: Suite) -> tuple[Expectation, ...]:
    """For each column how many values may be missing, and its range; ingest has refused the rows that break it."""
    result = []
    for column in measured(contract):
        name = column.name
        result.append(complete(name, column.missing))
        bounds = {"min_value": column.low, "max_value": column.high}
        limits = {key: bound for key, bound in bounds.items() if bound is not None}
        if limits:
            says = " and ".join(
                f"at {'least' if key == 'min_value' else 'most'} {bound:g}" for key, bound in limits.items()
            )
            result.append(values(name, says, "", **limits))
    return tuple(result)
