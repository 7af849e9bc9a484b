"""What ingest reads as a table: rows with a column for each of the recipe's, and one for the label."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import chain
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
import pyarrow as pa

from ratchet.errors import Refusal
from ratchet.kinds.table import columns
from ratchet.kinds.table.column import Column
from ratchet.kinds.table.contract import TableContract
from ratchet.lake import encoding, tabular
from ratchet.lake.formats import Record
from ratchet.lake.tabular import Chunk, Report
from ratchet.lake.times import Times
from ratchet.layout import Layout

_AS_THEY_ARE = {bool, float, int, str, NoneType}
HINT = f"Give {tabular.FORMATS} with a column for each of the recipe's, and the target"


def tables(
    contract: TableContract, inputs: Path, labels: Path | None, layout: Layout, report: Report
) -> Iterator[pa.Table]:
    """Raises Refusal if the source is of another format, or lacks a column."""
    names = [contract.target, *(column.name for column in contract.columns)]
    chunks = tabular.chunks(inputs, names, layout, report, HINT)
    first = _first(chunks)
    times = _times(contract, first, layout, report)
    for chunk in chain(first, chunks):
        yield _encoded(contract, chunk, times)


def _first(chunks: Iterator[Chunk]) -> list[Chunk]:
    """Those with the rows by which times are read."""
    first, count = list[Chunk](), 0
    for chunk in chunks:
        first.append(chunk)
        count += len(chunk)
        if count >= tabular.FIRST:
            break
    return first


def _times(contract: TableContract, first: Sequence[Chunk], layout: Layout, report: Report) -> Mapping[str, Times]:
    """How the times of a column are read; the layout must say so, since a time without a zone is refused otherwise."""
    if not (layout.time or layout.zone):
        return {}
    names = [column.name for column in contract.columns if column.type == "timestamp"]
    cells = {name: [cell for chunk in first for cell in chunk.columns[name]][: tabular.FIRST] for name in names}
    return {name: tabular.times_of(cells[name], name, layout, report) for name in names}


def _encoded(contract: TableContract, chunk: Chunk, times: Mapping[str, Times]) -> pa.Table:
    """The rows by `encoding.ROWS`: most of them by column, and one by one those that are not plain."""
    cells = {column.name: _cells(column, chunk.columns[column.name], chunk.typed) for column in contract.columns}
    problems = {place: problem for place, (problem, _) in chunk.problems.items()}
    for name, notation in times.items():
        cells[name] = _in_notation(notation, chunk, name, cells[name], problems)
    labels = list(map(tabular.text_of, chunk.columns[contract.target]))
    people = cells[contract.people] if contract.people else [None] * len(chunk)
    groups = [str(group) if group else None for group in people]
    by_column = columns.encoded(contract, cells)
    by_column.plain[list(problems)] = False
    rows: dict[str, list[Any]] = {
        **{name: [None] * len(chunk) for name in encoding.ROWS.names},
        "name": list(chunk.names),
        "label": list(map(encoding.label, labels)),
        "group": groups,
        "digest": list(by_column.digests),
        "data": [row.encode() for row in by_column.rows],
        "captured_at": list(by_column.times),
    }
    for place in np.flatnonzero(~by_column.plain).tolist():
        row = {name: of_column[place] for name, of_column in cells.items()}
        record = Record(chunk.names[place], row, labels[place], problem=problems.get(place), group=groups[place])
        if place in chunk.problems:
            record = replace(record, value=chunk.problems[place][1])
        for name, cell in encoding.row(_timed(contract, record, row), contract).items():
            rows[name][place] = cell
    return pa.table(rows, schema=encoding.ROWS)


def _timed(contract: TableContract, record: Record, row: Mapping[str, Any]) -> Record:
    """The record of a row with its time, if it has one."""
    if record.problem or not contract.time or not row[contract.time]:
        return record
    try:
        at = contract.by_name(contract.time).read(row[contract.time], record.name, show=False)
    except Refusal as refusal:
        return replace(record, problem=refusal)
    return replace(record, captured_at=datetime.fromtimestamp(float(at), UTC))


def _in_notation(
    notation: Times, chunk: Chunk, name: str, cells: Sequence[Any], problems: dict[int, Refusal]
) -> list[Any]:
    """The cells with the times that stand in the file; adds to `problems` those that cannot be read."""
    times = list(cells)
    for place, given in enumerate(chunk.columns[name]):
        if place not in problems and given not in (None, ""):
            try:
                times[place] = notation.read(given, chunk.names[place])
            except Refusal as refusal:
                problems[place] = refusal
    return times


def _cells(column: Column, cells: Sequence[Any], typed: bool) -> Sequence[Any]:
    """The cells of a column with their types, as far as they have any."""
    if typed:
        return cells if set(map(type, cells)) <= _AS_THEY_ARE else list(map(plain, cells))
    if column.type == "number" or column.type == "integer":
        try:
            if "_" not in "".join(cells):
                return list(map(float, cells))
        except (TypeError, ValueError):
            pass
    known = {cell: column.parse(cell) for cell in set(cells) - {None}}
    return [known.get(cell) for cell in cells]


def plain(cell: Any) -> Any:
    """A typed cell as a contract reads it: a decimal as a number; a date, and a time without a zone, as its text."""
    if isinstance(cell, Decimal):
        return float(cell)
    if isinstance(cell, date) and not (isinstance(cell, datetime) and cell.tzinfo):
        return cell.isoformat()
    return cell
