"""Detects the format of a source file by its bytes, and reads the records of CSV and Parquet.

Every parser here reads untrusted bytes: `sources` runs them in a child process with limited memory and disk.
"""

import codecs
import csv
import gzip
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ratchet.errors import Refusal

IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
"""NumPy's types of an IDX file's values, by the third byte."""


@dataclass(frozen=True)
class Record:
    name: str
    value: np.ndarray | list[int] | bytes | str | float | None
    """A decoded array, the pixels of a row of a CSV, the bytes of an image file, a text or a number."""
    label: str | None
    captured_at: Any = None
    problem: Refusal | None = None
    group: str | None = None
    """A group of people, if the source names one: fairness is evaluated by it, and the model never sees it."""


def refused(
    name: str, payload: bytes, what: str, next: str, label: str | None = None, captured_at: Any = None
) -> Record:
    """A record that is refused alone; the other records of its file are read."""
    return Record(name, payload, label, captured_at, Refusal(what, name, next))


def open_file(path: Path) -> BinaryIO:
    """The file's bytes, decompressed if they are gzip."""
    file = path.open("rb")
    if file.read(2) == b"\x1f\x8b":
        file.seek(0)
        return gzip.GzipFile(fileobj=file)  # type: ignore[return-value]
    file.seek(0)
    return file


def _head(path: Path, size: int = 16) -> bytes:
    with open_file(path) as file:
        return file.read(size)


def format_of(path: Path) -> str:
    """`idx`, `npz`, `parquet`, `arrow`, `image`, `csv` or `unknown`, by the bytes. Raises OSError, EOFError."""
    head = _head(path)
    if head[:2] == b"\0\0" and len(head) >= 4 and head[2] in IDX_TYPES and head[3] in (1, 2, 3, 4):
        return "idx"
    if head[:4] == b"PK\3\4":
        return "npz"
    if head[:4] == b"PAR1":
        return "parquet"
    if head[:6] == b"ARROW1":
        return "arrow"
    if head[:8] == b"\x89PNG\r\n\x1a\n" or head[:3] == b"\xff\xd8\xff":
        return "image"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "csv"
    if head and not any(b < 9 or 13 < b < 32 for b in head):
        return "csv"
    return "unknown"


@dataclass(frozen=True)
class Columns:
    """How the rows of a CSV or Parquet file become records."""

    input: str
    required: str
    """A column that must be there as well."""
    record: Callable[[str, Any, Mapping[str, Any]], Record]
    """From the row's name, its input, and all of its cells."""
    hint: str


def tabular(path: Path, columns: Columns) -> Iterator[Record]:
    """The records of a CSV or Parquet file. Raises Refusal if it is neither, or lacks these columns."""
    format = format_of(path) if path.is_file() else "folder" if path.is_dir() else "no file"
    if format == "parquet":
        return parquet(path, columns)
    if format == "csv":
        return _csv(path, columns)
    empty = path.is_file() and not path.stat().st_size
    what = "the file is empty" if empty else f"it is neither CSV nor Parquet ({format})"
    raise Refusal(what, path, columns.hint)


def parquet(path: Path, columns: Columns) -> Iterator[Record]:
    """The records of a Parquet file."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        if columns.input not in names or columns.required not in names:
            what = f"its columns are {names}, without `{columns.input}` and `{columns.required}`"
            raise Refusal(what, path, "Rename its columns")
        read = [name for name in (columns.input, columns.required, "captured_at", "group") if name in names]
        row = 0
        for part in file.iter_batches(batch_size=256, columns=read, use_threads=False):
            for cells in part.to_pylist():
                yield of_group(columns.record(f"row {row}", cells[columns.input], cells), cells.get("group"))
                row += 1


def _csv(path: Path, columns: Columns) -> Iterator[Record]:
    """A CSV with a header row; a quoted text may hold line breaks."""
    csv.field_size_limit(1 << 24)
    with open_file(path) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as text:
        rows = csv.reader(text, strict=True)
        try:
            head = next(rows, [])
            if columns.input not in head or columns.required not in head:
                what = f"its header is {head[:8]}, without `{columns.input}` and `{columns.required}`"
                raise Refusal(what, path, columns.hint)
            for row in filter(None, rows):
                name = f"line {rows.line_num}"
                if len(row) != len(head):
                    what = f"the row has {len(row)} cells, not {len(head)}"
                    yield refused(name, ",".join(row).encode(), what, "Correct the row")
                    continue
                cells = dict(zip(head, row, strict=True))
                yield of_group(columns.record(name, cells[columns.input], cells), cells.get("group"))
        except UnicodeDecodeError as error:
            raise Refusal("the file is not UTF-8", path, "Give it in UTF-8") from error
        except csv.Error as error:
            # An unclosed quote swallows what follows: no row after it can be trusted.
            raise Refusal(f"line {rows.line_num} is not CSV ({error})", path, "Correct its quotes") from error


def labelled(name: str, value: Any, cells: Mapping[str, Any]) -> Record:
    """A record with the label, and the time if there is one, that stand in its row."""
    return dated(name, value, text_of(cells["label"]), cells.get("captured_at"))


def of_group(record: Record, group: Any) -> Record:
    """The record with the group of people that its row names."""
    return record if group is None or str(group) == "" else replace(record, group=str(group)[:100])


def dated(name: str, value: Any, label: str | None, at: Any) -> Record:
    """A record with the time at which it was captured, if there is one."""
    if not at:
        return Record(name, value, label)
    record = timed(name, value, at)
    return Record(name, value, label, record.captured_at, record.problem)


def timed(name: str, value: Any, at: Any) -> Record:
    """A value with its time; a time without a zone is UTC."""
    try:
        moment = at if isinstance(at, datetime) else datetime.fromisoformat(str(at))
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return refused(name, str(value).encode(), f"the time {str(at)[:40]!r} is not ISO 8601", "Correct the row")
    return Record(name, value, None, moment)


def text_of(label: Any) -> str | None:
    """A label as text, whatever its type in the file is."""
    return None if label is None else str(label)
