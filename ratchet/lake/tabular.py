"""Reads rows of named cells: CSV, JSON lines, Parquet, Arrow, and folders of Parquet files as Spark writes them.

It reads untrusted bytes: `sources` runs it in a child process with limited memory and disk.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ratchet.errors import Refusal
from ratchet.lake.formats import Record, format_of, of_group, open_file, refused
from ratchet.lake.links import unreadable
from ratchet.lake.rows import rows_at_once
from ratchet.lake.times import Times
from ratchet.layout import Layout

if TYPE_CHECKING:
    import pyarrow as pa

FORMATS = "CSV, JSON lines, Parquet or Arrow"
DELIMITERS = ",;\t|"
FIRST = 1000
"""Rows by which the notation of times is found."""
_ROWS, _CELLS, _BYTES = 4096, 200_000, 8 << 20
"""Rows that are read together, their cells, and the memory of these, at most; a single row may have more."""
_CELL_BYTES = 64
"""Of a cell in memory, beside its characters."""
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
class Chunk:
    """Rows that are read together."""

    names: Sequence[str]
    """Of the rows, for people."""
    columns: Mapping[str, Sequence[Any]]
    """The cells of each column, by the contract's names."""
    typed: bool
    problems: Mapping[int, tuple[Refusal, bytes]] = field(default_factory=dict)
    """By its place, why a row cannot be read, and what stands there; its cells are None."""

    def __len__(self) -> int:
        return len(self.names)

    def rows(self) -> Iterator[Row]:
        for place, name in enumerate(self.names):
            if place in self.problems:
                yield Row(name, {}, self.typed, *self.problems[place])
            else:
                yield Row(name, {column: cells[place] for column, cells in self.columns.items()}, self.typed)


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
    """The rows of `chunks`, one by one."""
    for chunk in chunks(path, required, layout, report, hint, optional):
        yield from chunk.rows()


def chunks(
    path: Path, required: Sequence[str] | None, layout: Layout, report: Report, hint: str, optional: Sequence[str] = ()
) -> Iterator[Chunk]:
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


def _parquet(path: Path, wanted: _Wanted, prefix: str) -> Iterator[Chunk]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        names = wanted.present(file.schema_arrow.names)
        parts = file.iter_batches(rows_at_once(file.metadata), columns=list(names), use_threads=False)
        yield from _arrow_chunks(parts, names, prefix)


def _arrow(path: Path, wanted: _Wanted) -> Iterator[Chunk]:
    import pyarrow as pa

    with pa.OSFile(str(path)) as file, pa.ipc.open_file(file) as reader:
        names = wanted.present(reader.schema.names)
        parts = (reader.get_batch(number).select(list(names)) for number in range(reader.num_record_batches))
        yield from _arrow_chunks(parts, names, "")


def _arrow_chunks(parts: Iterable[pa.RecordBatch], names: Mapping[str, str], prefix: str) -> Iterator[Chunk]:
    row = 0
    for part in parts:
        bytes_of_row = max(1, part.nbytes // max(1, part.num_rows))
        count = max(1, min(_ROWS, _CELLS // max(1, len(names)), _BYTES // bytes_of_row))
        for start in range(0, part.num_rows, count):
            piece = part.slice(start, count)
            columns = {ours: piece.column(theirs).to_pylist() for theirs, ours in names.items()}
            yield Chunk([f"{prefix}row {row + place}" for place in range(len(piece))], columns, typed=True)
            row += len(piece)


def _json_lines(path: Path, wanted: _Wanted, report: Report) -> Iterator[Chunk]:
    """An object a line. The columns are those of the first thousand together; each may leave some out."""
    encoding = wanted.layout.encoding or encoding_of(path)
    report(f"it is read as JSON lines in {_shown(encoding)}")
    with open_file(path) as raw, io.TextIOWrapper(raw, encoding=encoding) as text:
        try:
            lines = ((number, line, _object(line)) for number, line in enumerate(text, 1) if line.strip())
            first = list(islice(lines, FIRST))
            names = wanted.present(list(dict.fromkeys(name for _, _, cells in first for name in cells or ())))
            for lines_together in _read_together(
                (_json_line(*line, names) for line in chain(first, lines)), len(names)
            ):
                yield _chunk(lines_together, list(names.values()), typed=True)
        except UnicodeDecodeError as error:
            what = f"the file is not {_shown(encoding)}"
            raise Refusal(what, path, "Give it in UTF-8, or name its encoding: `Layout(encoding=)`") from error


def _json_line(number: int, line: str, cells: Mapping[str, Any] | None, names: Mapping[str, str]) -> _Line:
    name = f"line {number}"
    if cells is None:
        return _Line(name, (), len(line), Refusal("the line is no JSON object", name, "Correct it"), line)
    return _Line(name, [cells.get(theirs) for theirs in names], len(line))


@dataclass(frozen=True)
class _Line:
    """A row as a file of lines has it."""

    name: str
    cells: Sequence[Any]
    """Those that are wanted, in the order of their columns."""
    characters: int
    problem: Refusal | None = None
    text: str = ""
    """What stands there, if it cannot be read."""


def _read_together(lines: Iterable[_Line], columns: int) -> Iterator[list[_Line]]:
    """As many lines as are read together. If one cannot be read, those before it come first."""
    most, together, size = max(1, min(_ROWS, _CELLS // max(1, columns))), list[_Line](), 0
    try:
        for line in lines:
            together.append(line)
            size += line.characters + len(line.text) + _CELL_BYTES * columns
            if len(together) == most or size > _BYTES:
                yield together
                together, size = [], 0
    except Exception:
        if together:
            yield together
        raise
    if together:
        yield together


def _chunk(lines: Sequence[_Line], columns: Sequence[str], typed: bool) -> Chunk:
    cells = {column: [None if line.problem else line.cells[at] for line in lines] for at, column in enumerate(columns)}
    problems = {
        place: (line.problem, line.text.encode("utf-8", "replace")) for place, line in enumerate(lines) if line.problem
    }
    return Chunk([line.name for line in lines], cells, typed, problems)


def _shown(encoding: str) -> str:
    return "UTF-8" if encoding == "utf-8-sig" else encoding


def _object(line: str) -> dict[str, Any] | None:
    try:
        cells = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return cells if isinstance(cells, dict) else None


def _csv(path: Path, wanted: _Wanted, report: Report) -> Iterator[Chunk]:
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
            places = {at: names[name] for at, name in enumerate(head) if name in names}
            point = _with_point if wanted.layout.decimal == "," else _as_it_is
            lines = (_csv_line(parsed.line_num, row, len(head), places, delimiter, point) for row in parsed if row)
            for lines_together in _read_together(lines, len(places)):
                yield _chunk(lines_together, list(places.values()), typed=False)
        except UnicodeDecodeError as error:
            what = f"the file is not {_shown(encoding)}, after line {parsed.line_num}"
            raise Refusal(what, path, "Give it in UTF-8, or name its encoding: `Layout(encoding=)`") from error
        except csv.Error as error:
            # An unclosed quote swallows what follows: no row after it can be trusted.
            raise Refusal(f"line {parsed.line_num} is not CSV ({error})", path, "Correct its quotes") from error


def _csv_line(
    number: int, row: Sequence[str], width: int, places: Iterable[int], delimiter: str, point: Callable[[str], str]
) -> _Line:
    name = f"line {number}"
    if len(row) == width:
        return _Line(name, [point(row[at]) for at in places], sum(map(len, row)))
    problem = Refusal(f"the row has {len(row)} cells, not {width}", name, "Correct the row")
    return _Line(name, (), 0, problem, delimiter.join(row))


_COMMA = re.compile(r"\s*[-+]?(\d{1,3}(\.\d{3})+|\d+)(,\d+)?\s*")


def _with_point(cell: str) -> str:
    """A number with a decimal comma as Python writes it; any other cell as it is."""
    return cell.replace(".", "").replace(",", ".") if _COMMA.fullmatch(cell) else cell


def _as_it_is(cell: str) -> str:
    return cell


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
