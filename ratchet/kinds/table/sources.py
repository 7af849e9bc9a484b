"""What ingest reads as a table: rows with a column for each of the recipe's, and one for the label."""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import chain
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
import pyarrow as pa

from ratchet.errors import Refusal
from ratchet.kinds.table.column import Column
from ratchet.kinds.table.contract import TableContract
from ratchet.kinds.table.row_encoding import encode_rows
from ratchet.lake import encoding, tabular
from ratchet.lake.encoding import Part
from ratchet.lake.formats import Record
from ratchet.lake.tabular import Chunk, Report
from ratchet.lake.times import Times
from ratchet.layout import Layout

_AS_THEY_ARE = {bool, float, int, str, NoneType}
HINT = f"Give {tabular.FORMATS} with a column for each of the recipe's, and the target"


def read_encoded(
    contract: TableContract, inputs: Path, labels: Path | None, layout: Layout, report: Report, part: Part
) -> Iterator[pa.Table]:
    """A part of the rows as `encoding.ROWS`. Raises Refusal if the source has another format, or lacks a column."""
    names = [contract.target, *(column.name for column in contract.columns)]
    chunks = tabular.chunks(inputs, names, layout, report, HINT)
    first = _first(chunks) if layout.time or layout.zone else deque[Chunk]()
    times = _times(contract, first, layout, report) if first else {}
    place = 0
    for chunk in chain(_drained(first), chunks):
        rows = _typed(contract, chunk, times)
        selected = [at for at in range(len(chunk)) if part.has(place + at)]
        if selected:
            yield _encode(contract, rows if len(selected) == len(chunk) else rows.take(selected))
        place += len(chunk)
        if part.is_over(place):
            return


def _first(chunks: Iterator[Chunk]) -> deque[Chunk]:
    """Those with the rows by which times are read."""
    first, count = deque[Chunk](), 0
    for chunk in chunks:
        first.append(chunk)
        count += len(chunk)
        if count >= tabular.FIRST:
            break
    return first


def _drained(chunks: deque[Chunk]) -> Iterator[Chunk]:
    """Each of them, and then it is let go."""
    while chunks:
        yield chunks.popleft()


def _times(contract: TableContract, first: Iterable[Chunk], layout: Layout, report: Report) -> Mapping[str, Times]:
    """How the times of a column are read, as the layout says; without one, a time without a zone is refused."""
    names = [column.name for column in contract.columns if column.type == "timestamp"]
    cells = {name: [cell for chunk in first for cell in chunk.columns[name]][: tabular.FIRST] for name in names}
    return {name: tabular.times_of(cells[name], name, layout, report) for name in names}


@dataclass(frozen=True)
class _Rows:
    """Rows whose cells have types, as far as they have any."""

    names: Sequence[str]
    cells: Mapping[str, Sequence[Any]]
    """By column."""
    labels: Sequence[str | None]
    groups: Sequence[str | None]
    problems: Mapping[int, Refusal]
    """By its place, why a row cannot be read."""
    unread: Mapping[int, bytes]
    """By its place, what stands in a row without cells."""

    def take(self, places: Sequence[int]) -> "_Rows":
        """These rows alone."""
        cells = {name: [column[place] for place in places] for name, column in self.cells.items()}
        return _Rows(
            [self.names[place] for place in places],
            cells,
            [self.labels[place] for place in places],
            [self.groups[place] for place in places],
            {new: self.problems[old] for new, old in enumerate(places) if old in self.problems},
            {new: self.unread[old] for new, old in enumerate(places) if old in self.unread},
        )


def _typed(contract: TableContract, chunk: Chunk, times: Mapping[str, Times]) -> _Rows:
    cells = {column.name: _typed_cells(column, chunk.columns[column.name], chunk.typed) for column in contract.columns}
    people = cells[contract.people] if contract.people else [None] * len(chunk)
    groups = [str(group) if group else None for group in people]
    problems = {place: problem for place, (problem, _) in chunk.problems.items()}
    for name, notation in times.items():
        cells[name] = _in_notation(notation, chunk, name, cells[name], problems)
    labels = list(map(tabular.text_of, chunk.columns[contract.target]))
    return _Rows(chunk.names, cells, labels, groups, problems, {at: line for at, (_, line) in chunk.problems.items()})


def _encode(contract: TableContract, rows: _Rows) -> pa.Table:
    """The rows as `encoding.ROWS`: those of usual cells by column, and the others one by one."""
    usual = encode_rows(contract, rows.cells)
    encoded: dict[str, list[Any]] = {
        **{name: [None] * len(rows.names) for name in encoding.ROWS.names},
        "name": list(rows.names),
        "label": list(map(encoding.label_of, rows.labels)),
        "group": list(rows.groups),
        "digest": list(usual.digests),
        "data": list(usual.rows),
        "captured_at": list(usual.times),
    }
    for place in sorted({*np.flatnonzero(~usual.is_usual).tolist(), *rows.problems}):
        for name, cell in encoding.encode_record(_record(contract, rows, place), contract).items():
            encoded[name][place] = cell
    return pa.table(encoded, schema=encoding.ROWS)


def _record(contract: TableContract, rows: _Rows, place: int) -> Record:
    """A row alone, with its time if it has one."""
    name, problem = rows.names[place], rows.problems.get(place)
    if place in rows.unread:
        return Record(name, rows.unread[place], None, problem=problem)
    row = {column: cells[place] for column, cells in rows.cells.items()}
    record = Record(name, row, rows.labels[place], problem=problem, group=rows.groups[place])
    if problem or not contract.time or not row[contract.time]:
        return record
    try:
        at = float(contract.by_name(contract.time).read(row[contract.time], name, show=False))
        return record if math.isnan(at) else replace(record, captured_at=datetime.fromtimestamp(at, UTC))
    except Refusal as refusal:
        return replace(record, problem=refusal)
    except (OverflowError, ValueError, OSError):
        what = f"the column {contract.time!r} has a value that is no time in seconds after 1970"
        return replace(record, problem=Refusal(what, name, "Correct it"))


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


def _typed_cells(column: Column, cells: Sequence[Any], typed: bool) -> Sequence[Any]:
    if typed:
        return cells if set(map(type, cells)) <= _AS_THEY_ARE else list(map(plain, cells))
    if column.type in ("number", "integer"):
        return [_number(column, cell) for cell in cells]
    values = {cell: column.parse(cell) for cell in set(cells) if cell is not None}
    return [values.get(cell) for cell in cells]


def _number(column: Column, cell: str | None) -> Any:
    """The same as `column.parse`, faster for most numbers."""
    try:
        number = float(cell or "")
    except ValueError:
        return column.parse(cell or "")
    return number if number == number and "_" not in str(cell) else column.parse(str(cell))


def plain(cell: Any) -> Any:
    """A typed cell as a contract reads it: a decimal as a number; a date, and a time without a zone, as its text."""
    if isinstance(cell, Decimal):
        return float(cell)
    if isinstance(cell, date) and not (isinstance(cell, datetime) and cell.tzinfo):
        return cell.isoformat()
    return cell
