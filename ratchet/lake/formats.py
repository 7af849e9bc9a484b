"""Detects the format of a source file by its bytes, and reads its records.

Every parser here reads untrusted bytes: `sources` runs them in a child process with limited memory and disk.
"""

import csv
import gzip
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ratchet.errors import Refusal

HINTS = {
    "image": "Give IDX, .npz, Parquet, CSV of pixels, or a folder of PNG/JPEG by class",
    "text": "Give CSV or Parquet with the columns `text` and `label`",
    "series": "Give CSV or Parquet with the columns `time` and `value`",
}
HINT = HINTS["image"]
COLUMNS = {"image": ("image", "label"), "text": ("text", "label"), "series": ("value", "time")}
"""Of a file with columns: the one that holds the input, and the one that must be beside it."""


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


def _refused(
    name: str, payload: bytes, what: str, next: str, label: str | None = None, captured_at: Any = None
) -> Record:
    """A record that is refused alone; the other records of its file are read."""
    return Record(name, payload, label, captured_at, Refusal(what, name, next))


def _open(path: Path) -> BinaryIO:
    """The file's bytes, decompressed if they are gzip."""
    file = path.open("rb")
    if file.read(2) == b"\x1f\x8b":
        file.seek(0)
        return gzip.GzipFile(fileobj=file)  # type: ignore[return-value]
    file.seek(0)
    return file


def _head(path: Path, size: int = 16) -> bytes:
    with _open(path) as file:
        return file.read(size)


def kind(path: Path) -> str:
    """`idx`, `npz`, `parquet`, `image`, `csv` or `unknown`, by the bytes. Raises OSError, EOFError."""
    head = _head(path)
    if head[:2] == b"\0\0" and len(head) >= 4 and head[2] in _IDX_TYPES and head[3] in (1, 2, 3, 4):
        return "idx"
    if head[:4] == b"PK\3\4":
        return "npz"
    if head[:4] == b"PAR1":
        return "parquet"
    if head[:8] == b"\x89PNG\r\n\x1a\n" or head[:3] == b"\xff\xd8\xff":
        return "image"
    if head and not any(b < 9 or 13 < b < 32 for b in head):
        return "csv"
    return "unknown"


_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def idx(path: Path) -> np.ndarray:
    """One IDX file (http://yann.lecun.com/exdb/mnist/): magic, big-endian sizes, values."""
    with _open(path) as file:
        magic = file.read(4)
        if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _IDX_TYPES:
            raise Refusal("the file is not an IDX file", path, HINT)
        sizes = np.frombuffer(_exactly(file, 4 * magic[3], path), ">u4").tolist()
        dtype = np.dtype(_IDX_TYPES[magic[2]])
        expected = dtype.itemsize * int(np.prod([int(s) for s in sizes], dtype=object))
        data = _exactly(file, expected, path)
        if file.read(1):
            what = f"the file is longer than the {expected} bytes that its header names"
            raise Refusal(what, path, "Give an intact file")
    return np.frombuffer(data, dtype).reshape(sizes)


def _exactly(file: BinaryIO, count: int, path: Path) -> bytes:
    """Reads in pieces, so that a false size costs no memory."""
    parts, left = [], count
    while left and (part := file.read(min(left, 1 << 20))):
        parts.append(part)
        left -= len(part)
    if left:
        what = f"the file ends {left} bytes before the {count} that its header names"
        raise Refusal(what, path, "Give an intact file")
    return b"".join(parts)


def _pairs(arrays: dict[str, np.ndarray], which: Path) -> Iterator[Record]:
    """Pairs arrays of images (rank 2 and more; the contract checks the rest) with arrays of labels (rank 1).

    They are paired by length, in order.
    """
    images = {k: a for k, a in arrays.items() if a.ndim >= 2}
    labels = {k: a for k, a in arrays.items() if a.ndim == 1 and a.dtype.kind in "iuUS"}
    if len(labels) > len(images) > 0:
        what = f"{', '.join(labels)} could each be the labels"
        raise Refusal(what, which, "Give one array of labels for each array of images")
    if not images:
        raise Refusal("it holds no array of images", which, "Give images [N, height, width] and labels [N]")
    for name, array in images.items():
        match = next((k for k, a in labels.items() if len(a) == len(array)), None)
        if match is None:
            what = f"there are no labels of length {len(array)} for {name}"
            raise Refusal(what, which, "Give labels [N] beside the images")
        for i, (image, label) in enumerate(zip(array, labels.pop(match), strict=True)):
            yield Record(f"{name}[{i}]", image, str(label))


def _npz(path: Path) -> Iterator[Record]:
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            with archive.open(member) as file:
                if file.read(6) != b"\x93NUMPY":
                    raise Refusal(f"its member {member.filename} is not a NumPy array", path, HINT)
            with archive.open(member) as file:
                arrays[member.filename.removesuffix(".npy")] = np.lib.format.read_array(file, allow_pickle=False)
    yield from _pairs(arrays, path)


def _parquet(path: Path, kind: str) -> Iterator[Record]:
    import pyarrow.parquet as pq

    input_column, other_column = COLUMNS[kind]
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        if input_column not in names or other_column not in names:
            what = f"its columns are {names}, without `{input_column}` and `{other_column}`"
            raise Refusal(what, path, "Rename its columns")
        columns = [c for c in (input_column, other_column, "captured_at", "group") if c in names]
        row = 0
        for part in file.iter_batches(batch_size=256, columns=columns, use_threads=False):
            for item in part.to_pylist():
                value, name = item[input_column], f"row {row}"
                if isinstance(value, dict):  # as Hugging Face's datasets store an image
                    value = value.get("bytes")
                if kind == "image" and isinstance(value, list):
                    record = _pixels(name, value, item["label"], item.get("captured_at"))
                elif kind == "series":
                    record = _timed(name, value, item["time"])
                else:
                    record = _dated(name, value, _text(item["label"]), item.get("captured_at"))
                yield _of_group(record, item.get("group"))
                row += 1


def _table(path: Path, kind: str) -> Iterator[Record]:
    """A CSV with a header row; a quoted text may hold line breaks."""
    input_column, other_column = COLUMNS[kind]
    csv.field_size_limit(1 << 24)
    with _open(path) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as text:
        rows = csv.reader(text, strict=True)
        try:
            head = next(rows, [])
            if input_column not in head or other_column not in head:
                what = f"its header is {head[:8]}, without `{input_column}` and `{other_column}`"
                raise Refusal(what, path, HINTS[kind])
            width = len(head)
            for row in rows:
                name = f"line {rows.line_num}"
                if row and len(row) != width:
                    text_ = ",".join(row).encode()
                    yield _refused(name, text_, f"the row has {len(row)} cells, not {width}", "Correct the row")
                elif row:
                    cells = dict(zip(head, row, strict=True))
                    record = (
                        _timed(name, cells[input_column], cells[other_column]) if kind == "series"
                        else _dated(name, cells[input_column], cells[other_column], cells.get("captured_at"))
                    )  # fmt: skip
                    yield _of_group(record, cells.get("group"))
        except UnicodeDecodeError as error:
            raise Refusal("the file is not UTF-8", path, "Give it in UTF-8") from error
        except csv.Error as error:
            # An unclosed quote swallows what follows: no row after it can be trusted.
            raise Refusal(f"line {rows.line_num} is not CSV ({error})", path, "Correct its quotes") from error


def _of_group(record: Record, group: Any) -> Record:
    return record if group is None or str(group) == "" else replace(record, group=str(group)[:100])


def _dated(name: str, value: Any, label: str | None, at: Any) -> Record:
    if not at:
        return Record(name, value, label)
    timed = _timed(name, value, at)
    return Record(name, value, label, timed.captured_at, timed.problem)


def _timed(name: str, value: Any, at: Any) -> Record:
    """A value with its time; a time without a zone is UTC."""
    try:
        moment = at if isinstance(at, datetime) else datetime.fromisoformat(str(at))
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return _refused(name, str(value).encode(), f"the time {str(at)[:40]!r} is not ISO 8601", "Correct the row")
    return Record(name, value, None, moment)


def _csv(path: Path) -> Iterator[Record]:
    with _open(path) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig") as text:
        label_at, group_at = 0, -1
        for number, line in enumerate(text, 1):
            try:
                # Line by line: a stray quote must not swallow the records after it.
                row = next(csv.reader([line], strict=True), [])
            except csv.Error as error:
                yield _refused(f"line {number}", line.encode(), f"the line is not CSV ({error})", "Correct its quotes")
                continue
            if number == 1 and len(row) < 2:
                raise Refusal("the file has an unknown format", path, HINT)
            if number == 1 and not all(_is_number(cell) for cell in row[1:]):
                if "label" not in row:
                    raise Refusal("its header has no `label`", path, HINT)
                label_at = row.index("label")
                group_at = row.index("group") if "group" in row else -1
                continue
            if row and len(row) <= label_at:
                yield _refused(f"line {number}", line.encode(), "the line ends before its label", "Correct the line")
            elif row:
                pixels = [cell for at, cell in enumerate(row) if at not in (label_at, group_at)]
                group = row[group_at] if 0 <= group_at < len(row) else None
                yield _of_group(_pixels(f"line {number}", pixels, row[label_at]), group)


def _is_number(cell: str) -> bool:
    return cell.strip().lstrip("-").isdigit()


def _text(label: Any) -> str | None:
    return None if label is None else str(label)


def _pixels(name: str, cells: list[Any], label: Any, captured_at: Any = None) -> Record:
    """A flat list of pixels; the contract knows its shape, since a CSV has none."""
    try:
        values = [int(str(c)) for c in cells]
        np.array(values)
    except (ValueError, OverflowError):
        payload = ",".join(map(str, cells)).encode()
        return _refused(name, payload, "a pixel is not an integer", "Give integers", _text(label), captured_at)
    return Record(name, values, _text(label), captured_at)


def _folder(path: Path) -> Iterator[Record]:
    files = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
    if pairs := [f for f in files if _kind_or_unknown(f) == "idx"]:
        yield from _pairs({f.name: idx(f) for f in pairs}, path)
        return
    classes = sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    for folder in classes:
        for file in sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink()):
            yield Record(_shown(f"{folder.name}/{file.name}"), file.read_bytes(), _shown(folder.name))
    for file in files:
        what = "the file is not in the folder of a class"
        yield _refused(_shown(file.name), file.read_bytes(), what, "Move it into one")


def _shown(name: str) -> str:
    """A file name as printable UTF-8, whatever its bytes on the disk are."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _kind_or_unknown(path: Path) -> str:
    try:
        return kind(path)
    except (OSError, EOFError):  # broken gzip: the file is refused below by name
        return "unknown"


def records(inputs: Path, labels: Path | None, of: str) -> Iterator[Record]:
    """The records of a source of kind `image`, `text` or `series`."""
    format = kind(inputs) if inputs.is_file() else "folder" if inputs.is_dir() else "no file"
    if of != "image":
        if format not in ("csv", "parquet"):
            empty = inputs.is_file() and not inputs.stat().st_size
            what = "the file is empty" if empty else f"it is neither CSV nor Parquet ({format})"
            raise Refusal(what, inputs, HINTS[of])
        return _parquet(inputs, of) if format == "parquet" else _table(inputs, of)
    if format == "folder":
        return _folder(inputs)
    if format == "idx":
        beside = labels or inputs.with_name(inputs.name.replace("images-idx3", "labels-idx1"))
        if beside == inputs or not beside.exists():
            raise Refusal("it has no file of labels beside it", inputs, "Give the folder that holds both IDX files")
        return _pairs({inputs.name: idx(inputs), beside.name: idx(beside)}, inputs)
    if format == "npz":
        return _npz(inputs)
    if format == "parquet":
        return _parquet(inputs, of)
    if format == "csv":
        return _csv(inputs)
    if format == "image":
        raise Refusal("a single image has no label", inputs, "Put it into a folder named after its class")
    empty = inputs.stat().st_size == 0
    raise Refusal("the file is empty" if empty else "the file has an unknown format", inputs, HINT)
