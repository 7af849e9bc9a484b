"""How the lake keeps rows of a table, what is measured of them, and what a batch of them must be."""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ratchet.expectation import Expectation, complete, values
from ratchet.kinds.table.column import Column
from ratchet.kinds.table.contract import TableContract
from ratchet.lake import split
from ratchet.lake.split import Side
from ratchet.suite import Suite

TYPE = pa.string()


def cell(data: bytes) -> str:
    """The row as JSON."""
    return data.decode()


def sides(contract: TableContract, rows: pa.Table) -> Mapping[Side, pa.Table]:
    """By the digest of the input, or of the group: then all rows of a group are on one side."""
    if not contract.group or not rows.num_rows:
        return split.by_digest(contract, rows)
    return split.by_digest(contract, rows, [_group_digest(contract, row) for row in rows["row"].to_pylist()])


def side_of(contract: TableContract, row: Mapping[str, Any]) -> str:
    """The side of one record, for people."""
    return split.side(_group_digest(contract, row["row"]) if contract.group else row["input"])


def _group_digest(contract: TableContract, row: str) -> str:
    return hashlib.sha256(json.dumps(json.loads(row)[contract.group]).encode()).hexdigest()


def examples(contract: TableContract, rows: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """A structured array [N] of the features, and labels [N]."""
    inputs = np.empty(rows.num_rows, contract.dtype)
    if rows.num_rows:
        columns = _columns(contract, rows)
        for column in contract.features_:
            inputs[column.name] = columns[column.name]
    return inputs, rows["label"].to_numpy()


def _columns(contract: TableContract, rows: pa.Table) -> Mapping[str, np.ndarray]:
    """The values [N] of each column. A column that the recipe added later has none in older rows."""
    from pyarrow import json as arrow_json

    schema = pa.schema([(column.name, pa.string() if column.is_text else pa.float64()) for column in contract.columns])
    options = arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    lines = io.BytesIO("\n".join(rows["row"].to_pylist()).encode())
    table = arrow_json.read_json(lines, arrow_json.ReadOptions(use_threads=False), options)
    return {column.name: _values(column, table[column.name]) for column in contract.columns}


def _values(column: Column, cells: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(cells.fill_null(column.nothing).to_numpy(zero_copy_only=False), column.dtype)


def statistics(contract: TableContract, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The value of each column, those that are no features included; None where it is missing."""
    rows = [json.loads(record["row"]) for record in records]
    return {_named(column): [row.get(column.name) for row in rows] for column in contract.columns}


def _named(column: Column) -> str:
    """Its name in the table of statistics, which has columns of its own."""
    return f"{column.name} (column)" if column.name in ("record", "label", "duplicate", "age_days") else column.name


def expectations(contract: TableContract, suite: Suite) -> tuple[Expectation, ...]:
    """For each column how many values may be missing, and its range; ingest has refused the rows that break it."""
    result = []
    for column in contract.columns:
        name = _named(column)
        result.append(complete(name, column.missing))
        bounds = {"min_value": column.low, "max_value": column.high}
        limits = {key: bound for key, bound in bounds.items() if bound is not None}
        if limits:
            result.append(values(name, f"{column.low}..{column.high}", **limits))
    return tuple(result)
