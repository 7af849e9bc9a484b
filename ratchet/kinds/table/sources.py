"""Reads the rows of CSV, Parquet and Arrow files, and of folders of Parquet files."""

import codecs
import csv
import io
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from ratchet.errors import Refusal
from ratchet.kinds.table.contract import TableContract
from ratchet.lake.formats import Record, format_of, open_file, refused, timed

HINT = "Give CSV, Parquet or Arrow with a column for each of the recipe's, and the target"
DELIMITERS = ",;\t|"


def read(contract: TableContract, inputs: Path, labels: Path | None) -> Iterator[Record]:
    """A record for each row. Raises Refusal if the source is of another format, or lacks a column."""
    for name, cells, typed in rows_of(inputs, [contract.target, *(column.name for column in contract.columns)]):
        if isinstance(cells, list):
            what = f"the row has {len(cells)} cells, not one a column"
            yield refused(name, ",".join(cells).encode(), what, "Correct the row")
            continue
        if not typed:
            parsed = {column.name: column.parse(cells.get(column.name, "")) for column in contract.columns}
        else:
            parsed = {column.name: plain(cells.get(column.name)) for column in contract.columns}
        label = cells.get(contract.target)
        yield _record(contract, name, parsed, None if label in (None, "") else str(label))


def _record(contract: TableContract, name: str, cells: Mapping[str, Any], label: str | None) -> Record:
    value: Any = cells
    group = str(cells[contract.people]) if contract.people and cells[contract.people] else None
    if contract.time and cells[contract.time]:
        at = timed(name, value, cells[contract.time])
        return Record(name, value, label, at.captured_at, at.problem, group)
    return Record(name, value, label, group=group)


def plain(cell: Any) -> Any:
    """A typed cell as a contract reads it: a decimal as a number; a date, and a time without a zone, as its text."""
    if isinstance(cell, Decimal):
        return float(cell)
    if isinstance(cell, date) and not (isinstance(cell, datetime) and cell.tzinfo):
        return cell.isoformat()
    return cell


def rows_of(path: Path, columns: list[str] | None) -> Iterator[tuple[str, Any, bool]]:
    """The name of each row, its cells by column, and whether these are typed; or a list of cells that does not fit.

    Only `columns` are read; all if there are none. Raises Refusal if the file lacks one of them.
    """
    if path.is_dir():
        files = sorted(file for file in path.rglob("*.parquet") if file.is_file())
        if not files:
            raise Refusal("the folder holds no Parquet file", path, HINT)
        for file in files:
            yield from _parquet(file, columns, f"{file.relative_to(path)}, ")
        return
    format = format_of(path)
    if format == "parquet":
        yield from _parquet(path, columns, "")
    elif format == "arrow":
        yield from _arrow(path, columns)
    elif format == "csv":
        yield from _csv(path, columns)
    else:
        empty = not path.stat().st_size
        what = "the file is empty" if empty else f"it is neither CSV nor Parquet nor Arrow ({format})"
        raise Refusal(what, path, HINT)


def _lacks(names: list[str], columns: list[str] | None, path: Path) -> None:
    if columns and (missing := [name for name in columns if name not in names]):
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        what = f"it has no column {', '.join(map(repr, missing[:5]))}{more}"
        raise Refusal(what, path, f"Its columns are {', '.join(map(str, names))[:300]}")


def _parquet(path: Path, columns: list[str] | None, prefix: str) -> Iterator[tuple[str, Any, bool]]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        _lacks(file.schema_arrow.names, columns, path)
        row = 0
        for part in file.iter_batches(batch_size=4096, columns=columns, use_threads=False):
            for cells in part.to_pylist():
                yield f"{prefix}row {row}", cells, True
                row += 1


def _arrow(path: Path, columns: list[str] | None) -> Iterator[tuple[str, Any, bool]]:
    import pyarrow as pa

    with pa.OSFile(str(path)) as file, pa.ipc.open_file(file) as reader:
        _lacks(reader.schema.names, columns, path)
        row = 0
        for number in range(reader.num_record_batches):
            for cells in reader.get_batch(number).to_pylist():
                yield f"row {row}", cells, True
                row += 1


def _csv(path: Path, columns: list[str] | None) -> Iterator[tuple[str, Any, bool]]:
    csv.field_size_limit(1 << 24)
    encoding = encoding_of(path)
    with open_file(path) as raw, io.TextIOWrapper(raw, encoding=encoding, newline="") as text:
        rows = csv.reader(text, strict=True)
        try:
            delimiter = delimiter_of(text.readline())
            text.seek(0)
            rows = csv.reader(text, strict=True, delimiter=delimiter)
            head = [name.strip() for name in next(rows, [])]
            _lacks(head, columns, path)
            if len(set(head)) != len(head):
                twice = next(name for name in head if head.count(name) > 1)
                raise Refusal(f"the column {twice!r} stands twice in its header", path, "Rename one")
            for row in filter(None, rows):
                name = f"line {rows.line_num}"
                if len(row) != len(head):
                    yield name, row, False
                else:
                    yield name, dict(zip(head, row, strict=True)), False
        except UnicodeDecodeError as error:
            raise Refusal(f"the file is not {encoding}", path, "Give it in UTF-8") from error
        except csv.Error as error:
            # An unclosed quote swallows what follows: no row after it can be trusted.
            raise Refusal(f"line {rows.line_num} is not CSV ({error})", path, "Correct its quotes") from error


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
