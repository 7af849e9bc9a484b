"""Reads rows of named cells: CSV, JSON lines, Parquet, Arrow, and folders of Parquet files as Spark writes them.

It reads untrusted bytes: `sources` runs it in a child process with limited memory and disk.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from ratchet.errors import Refusal
from ratchet.lake.formats import Record, format_of, of_group, open_file, refused
from ratchet.lake.links import unreadable
from ratchet.lake.rows import rows_at_once
from ratchet.lake.times import Times
from ratchet.layout import Layout

FORMATS = "CSV, JSON lines, Parquet or Arrow"
DELIMITERS = ",;\t|"
FIRST = 1000
"""Rows by which the notation of times is found."""
Report = Callable[[str], None]
"""Takes what was found out about a file, for people."""


@dataclass(frozen=True)
class Row:
    name: str
    cells: Mapping[str, Any]
    """By the contract's names of the columns."""
    typed: bool
    """Whether the cells have types; if not, they are texts."""
    problem: Refusal | None = None
    payload: bytes = b""


@dataclass(frozen=True)
class Columns:
    """How rows become records: the names of the columns, and what a value is."""

    input: str
    required: str
    """A column that must be there as well."""
    hint: str
    time: str = "captured_at"
    record: Callable[[str, Any, Mapping[str, Any]], Record] | None = None
    """From the row's name, its input, and all of its cells; a record with that value and label if there is none."""


def records(path: Path, columns: Columns, layout: Layout, report: Report) -> Iterator[Record]:
    """The records of a file. Raises Refusal if it has another format, or lacks these columns."""
    optional = {"captured_at", "group", columns.time}
    required = [columns.input, columns.required]
    all_rows = rows(path, required, layout, report, columns.hint, tuple(optional - set(required)))
    first = list(islice(all_rows, FIRST))
    times = times_of([row.cells.get(columns.time) for row in first], columns.time, layout, report)
    for row in chain(first, all_rows):
        if row.problem:
            yield refused(row.name, row.payload, row.problem.what, row.problem.next)
            continue
        value = row.cells[columns.input]
        build = columns.record or _labelled
        record = of_group(build(row.name, value, row.cells), row.cells.get("group"))
        yield timed(record, row.cells.get(columns.time), times)


def _labelled(name: str, value: Any, cells: Mapping[str, Any]) -> Record:
    return Record(name, value, text_of(cells["label"]))


def times_of(first: Sequence[Any], column: str, layout: Layout, report: Report) -> Times:
    times = Times(first, layout, f"the column {layout.name(column)!r}")
    if any(value not in (None, "") for value in first):
        report(f"the times in {layout.name(column)!r} are {times.describe()}")
    return times


def timed(record: Record, value: Any, times: Times) -> Record:
    """The record with its time, if it has one."""
    if value in (None, ""):
        return record
    try:
        return replace(record, captured_at=times.read(value, record.name))
    except Refusal as refusal:
        return replace(record, problem=record.problem or refusal)


def text_of(label: Any) -> str | None:
    """A label as text, whatever its type in the file is: bytes are taken as UTF-8, and a list becomes JSON."""
    if isinstance(label, list):
        return json.dumps(label, ensure_ascii=False, default=str)
    if isinstance(label, bytes):
        label = label.decode("utf-8", "replace")
    return None if label is None or (isinstance(label, float) and label != label) else str(label)


def rows(
    path: Path, required: Sequence[str] | None, layout: Layout, report: Report, hint: str, optional: Sequence[str] = ()
) -> Iterator[Row]:
    """The rows of a file or folder with these columns and the optional ones it has; all columns if none is required.

    Raises Refusal if the file lacks a required column, or is of another format.
    """
    if path.is_dir():
        files = sorted(file for file in path.rglob("*.parquet") if file.is_symlink() or not file.is_dir())
        if not files:
            what = "the folder holds no Parquet file, and files of another format are read one by one"
            raise Refusal(what, path, hint)
        for file in files:
            if problem := unreadable(file, path):
                raise Refusal(problem[0], file, problem[1])
            yield from _parquet(file, _Wanted(file, required, optional, layout), f"{file.relative_to(path)}, ")
        return
    format, wanted = format_of(path), _Wanted(path, required, optional, layout)
    if format == "parquet":
        yield from _parquet(path, wanted, "")
    elif format == "arrow":
        yield from _arrow(path, wanted)
    elif format == "json lines":
        yield from _json_lines(path, wanted, report)
    elif format == "csv" or (format == "unknown" and layout.encoding and path.stat().st_size):
        yield from _csv(path, wanted, report)
    else:
        empty = not path.stat().st_size
        raise Refusal("the file is empty" if empty else f"it is none of {FORMATS} ({format})", path, hint)


@dataclass(frozen=True)
class _Wanted:
    """Which columns of a file are read."""

    path: Path
    required: Sequence[str] | None
    optional: Sequence[str]
    layout: Layout

    def present(self, names: Sequence[str]) -> dict[str, str]:
        """The columns by their names in the file. Raises Refusal if one is missing, or stands there twice."""
        if twice := next((name for name in names if list(names).count(name) > 1), None):
            raise Refusal(f"the column {twice!r} stands twice", self.path, "Rename one")
        if self.required is None:
            ours = {theirs: name for name, theirs in self.layout.columns.items()}
            return {name: ours.get(name, name) for name in names}
        if unknown := sorted(set(self.layout.columns) - {*self.required, *self.optional}):
            what = f"the layout names {', '.join(map(repr, unknown[:5]))}, which is no column of the recipe"
            raise Refusal(what, self.path, f"Choose from: {', '.join([*self.required, *self.optional])[:300]}")
        known = {self.layout.name(column): column for column in self.required}
        if len(known) < len(self.required):
            raise Refusal("the layout gives one column two meanings", self.path, "Name each column once")
        if missing := [name for name in known if name not in names]:
            more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
            what = f"it has no column {', '.join(map(repr, missing[:5]))}{more}"
            others = f" and {len(names) - 20} more" if len(names) > 20 else ""
            listed = ", ".join(map(str, names[:20]))[:300] + others
            raise Refusal(
                what, self.path, f"Its columns are {listed}. Rename them, or name them: `Layout(columns=)`, `--column`"
            )
        also = {self.layout.name(column): column for column in self.optional}
        return {name: column for name, column in also.items() if name in names} | known


def _parquet(path: Path, wanted: _Wanted, prefix: str) -> Iterator[Row]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        names = wanted.present(file.schema_arrow.names)
        row = 0
        for part in file.iter_batches(rows_at_once(file.metadata), columns=list(names), use_threads=False):
            for cells in part.to_pylist():
                yield Row(f"{prefix}row {row}", {names[name]: cell for name, cell in cells.items()}, typed=True)
                row += 1


def _arrow(path: Path, wanted: _Wanted) -> Iterator[Row]:
    import pyarrow as pa

    with pa.OSFile(str(path)) as file, pa.ipc.open_file(file) as reader:
        names = wanted.present(reader.schema.names)
        row = 0
        for number in range(reader.num_record_batches):
            for cells in reader.get_batch(number).select(list(names)).to_pylist():
                yield Row(f"row {row}", {names[name]: cell for name, cell in cells.items()}, typed=True)
                row += 1


def _json_lines(path: Path, wanted: _Wanted, report: Report) -> Iterator[Row]:
    """An object a line. The columns are those of the first thousand together; each may leave some out."""
    encoding = wanted.layout.encoding or encoding_of(path)
    report(f"it is read as JSON lines in {_shown(encoding)}")
    with open_file(path) as raw, io.TextIOWrapper(raw, encoding=encoding) as text:
        try:
            lines = ((number, line, _object(line)) for number, line in enumerate(text, 1) if line.strip())
            first = list(islice(lines, FIRST))
            names = wanted.present(list(dict.fromkeys(name for _, _, cells in first for name in cells or ())))
            for number, line, cells in chain(first, lines):
                if cells is None:
                    problem = Refusal("the line is no JSON object", f"line {number}", "Correct it")
                    yield Row(f"line {number}", {}, True, problem, line.encode("utf-8", "replace"))
                else:
                    yield Row(f"line {number}", {ours: cells.get(theirs) for theirs, ours in names.items()}, typed=True)
        except UnicodeDecodeError as error:
            what = f"the file is not {_shown(encoding)}"
            raise Refusal(what, path, "Give it in UTF-8, or name its encoding: `Layout(encoding=)`") from error


def _shown(encoding: str) -> str:
    return "UTF-8" if encoding == "utf-8-sig" else encoding


def _object(line: str) -> dict[str, Any] | None:
    try:
        cells = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return cells if isinstance(cells, dict) else None


def _csv(path: Path, wanted: _Wanted, report: Report) -> Iterator[Row]:
    """A CSV with a header row; a quoted text may hold line breaks."""
    csv.field_size_limit(1 << 24)
    encoding = wanted.layout.encoding or encoding_of(path)
    with open_file(path) as raw, io.TextIOWrapper(raw, encoding=encoding, newline="") as text:
        parsed = csv.reader(text, strict=True)
        try:
            delimiter = wanted.layout.delimiter or delimiter_of(text.readline())
            report(f"it is read as CSV in {_shown(encoding)} with the delimiter {delimiter!r}")
            text.seek(0)
            parsed = csv.reader(text, strict=True, delimiter=delimiter)
            head = [name.strip() for name in next(parsed, [])]
            names = wanted.present(head)
            for row in filter(None, parsed):
                name = f"line {parsed.line_num}"
                if len(row) != len(head):
                    problem = Refusal(f"the row has {len(row)} cells, not {len(head)}", name, "Correct the row")
                    yield Row(name, {}, False, problem, delimiter.join(row).encode())
                    continue
                cells = {names[theirs]: cell for theirs, cell in zip(head, row, strict=True) if theirs in names}
                yield Row(name, _with_points(cells) if wanted.layout.decimal == "," else cells, typed=False)
        except UnicodeDecodeError as error:
            what = f"the file is not {_shown(encoding)}, after line {parsed.line_num}"
            raise Refusal(what, path, "Give it in UTF-8, or name its encoding: `Layout(encoding=)`") from error
        except csv.Error as error:
            # An unclosed quote swallows what follows: no row after it can be trusted.
            raise Refusal(f"line {parsed.line_num} is not CSV ({error})", path, "Correct its quotes") from error


_COMMA = re.compile(r"\s*[-+]?(\d{1,3}(\.\d{3})+|\d+)(,\d+)?\s*")


def _with_points(cells: Mapping[str, str]) -> dict[str, str]:
    """The cells with numbers as Python writes them, in place of those with a decimal comma."""
    return {
        name: cell.replace(".", "").replace(",", ".") if _COMMA.fullmatch(cell) else cell
        for name, cell in cells.items()
    }


def encoding_of(path: Path) -> str:
    """UTF-8 or what a byte order mark says; Windows-1252 if the first megabyte has no character in UTF-8 above ASCII.

    One damaged character does not make a file in UTF-8 another one.
    """
    with open_file(path) as file:
        head = file.read(1 << 20)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        readable = head.decode("utf-8", "replace").replace("\ufffd", "")
        return "cp1252" if readable.isascii() else "utf-8-sig"
    return "utf-8-sig"


def delimiter_of(header: str) -> str:
    """The one that separates the header into most columns."""
    return max(DELIMITERS, key=lambda each: len(next(csv.reader([header], delimiter=each), [])))
