"""What a source file is, its bytes say; and the records that it holds.

Every parser here reads bytes that nobody vouches for: `sources` runs them in a child process that
cannot take more than it is given.
"""

from __future__ import annotations

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
"""Of a file with columns: what holds the input, and what must stand beside it."""


@dataclass(frozen=True)
class Record:
    name: str
    value: np.ndarray | list[int] | bytes | str | float | None
    """As the contract holds it: a decoded array, pixels of a CSV in a row, a file's bytes, a text or a number."""
    label: str | None
    captured_at: Any = None
    problem: Refusal | None = None
    group: str | None = None
    """Of people, where the source names one: fairness is asked by it, the model never sees it."""


def _refused(
    name: str, payload: bytes, what: str, next: str, label: str | None = None, captured_at: Any = None
) -> Record:
    """A record that is refused alone; the others of its file go on."""
    return Record(name, payload, label, captured_at, Refusal(what, name, next))


def _open(path: Path) -> BinaryIO:
    """The file's bytes, gunzipped where they are gzip."""
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
            raise Refusal("the file is no IDX file", path, HINT)
        sizes = np.frombuffer(_exactly(file, 4 * magic[3], path), ">u4").tolist()
        dtype = np.dtype(_IDX_TYPES[magic[2]])
        want = dtype.itemsize * int(np.prod([int(s) for s in sizes], dtype=object))
        data = _exactly(file, want, path)
        if file.read(1):
            raise Refusal(f"the file goes on after the {want} bytes it names", path, "Give a whole IDX file")
    return np.frombuffer(data, dtype).reshape(sizes)


def _exactly(file: BinaryIO, count: int, path: Path) -> bytes:
    """Reads in pieces, so that a claim costs nothing until the bytes are there."""
    parts, left = [], count
    while left and (part := file.read(min(left, 1 << 20))):
        parts.append(part)
        left -= len(part)
    if left:
        raise Refusal(f"the file ends {left} bytes before the {count} it names", path, "Give a whole file")
    return b"".join(parts)


def _pairs(arrays: dict[str, np.ndarray], which: Path) -> Iterator[Record]:
    """Images are the arrays of rank 2 and more, which the contract then holds to its own; labels those of rank 1.

    They pair by length, in order.
    """
    images = {k: a for k, a in arrays.items() if a.ndim >= 2}
    labels = {k: a for k, a in arrays.items() if a.ndim == 1 and a.dtype.kind in "iuUS"}
    if len(labels) > len(images) > 0:
        raise Refusal(
            f"{', '.join(labels)} could each be the labels", which, "Give one array of labels for each of images"
        )
    if not images:
        raise Refusal("there is no array of images in it", which, "Give images [N, height, width] and labels [N]")
    for name, array in images.items():
        match = next((k for k, a in labels.items() if len(a) == len(array)), None)
        if match is None:
            raise Refusal(
                f"no labels of length {len(array)} go with {name}", which, "Give labels [N] beside the images"
            )
        for i, (image, label) in enumerate(zip(array, labels.pop(match), strict=True)):
            yield Record(f"{name}[{i}]", image, str(label))


def _npz(path: Path) -> Iterator[Record]:
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            with archive.open(member) as file:
                if file.read(6) != b"\x93NUMPY":
                    raise Refusal(f"its member {member.filename} is no NumPy array", path, HINT)
            with archive.open(member) as file:
                arrays[member.filename.removesuffix(".npy")] = np.lib.format.read_array(file, allow_pickle=False)
    yield from _pairs(arrays, path)


def _parquet(path: Path, kind: str) -> Iterator[Record]:
    import pyarrow.parquet as pq

    one, other = COLUMNS[kind]
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        if one not in names or other not in names:
            raise Refusal(f"its columns are {names}, without `{one}` and `{other}`", path, "Name them so")
        columns = [c for c in (one, other, "captured_at", "group") if c in names]
        row = 0
        for part in file.iter_batches(batch_size=256, columns=columns, use_threads=False):
            for item in part.to_pylist():
                value, name = item[one], f"row {row}"
                if isinstance(value, dict):  # the layout of Hugging Face's datasets
                    value = value.get("bytes")
                if kind == "image" and isinstance(value, list):
                    found = _pixels(name, value, item["label"], item.get("captured_at"))
                elif kind == "series":
                    found = _timed(name, value, item["time"])
                else:
                    found = _dated(name, value, _text(item["label"]), item.get("captured_at"))
                yield _of_group(found, item.get("group"))
                row += 1


def _table(path: Path, kind: str) -> Iterator[Record]:
    """A CSV with a heading, by its columns; a text may hold line breaks between quotes."""
    one, other = COLUMNS[kind]
    csv.field_size_limit(1 << 24)
    with _open(path) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as text:
        rows = csv.reader(text, strict=True)
        try:
            head = next(rows, [])
            if one not in head or other not in head:
                raise Refusal(f"its heading is {head[:8]}, without `{one}` and `{other}`", path, HINTS[kind])
            width = len(head)
            for row in rows:
                name = f"line {rows.line_num}"
                if row and len(row) != width:
                    told = ",".join(row).encode()
                    yield _refused(name, told, f"the row has {len(row)} cells, not {width}", "Mend it")
                elif row:
                    cells = dict(zip(head, row, strict=True))
                    found = (
                        _timed(name, cells[one], cells[other]) if kind == "series"
                        else _dated(name, cells[one], cells[other], cells.get("captured_at"))
                    )  # fmt: skip
                    yield _of_group(found, cells.get("group"))
        except UnicodeDecodeError as error:
            raise Refusal("the file is no UTF-8", path, "Give it in UTF-8") from error
        except csv.Error as error:
            # A quote that is never closed swallows what follows: no row after it can be trusted.
            raise Refusal(f"line {rows.line_num} is no CSV ({error})", path, "Mend its quotes") from error


def _of_group(record: Record, group: Any) -> Record:
    return record if group is None or str(group) == "" else replace(record, group=str(group)[:100])


def _dated(name: str, value: Any, label: str | None, at: Any) -> Record:
    if not at:
        return Record(name, value, label)
    timed = _timed(name, value, at)
    return Record(name, value, label, timed.captured_at, timed.problem)


def _timed(name: str, value: Any, at: Any) -> Record:
    """A value at a moment; one without a zone is taken as UTC."""
    try:
        moment = at if isinstance(at, datetime) else datetime.fromisoformat(str(at))
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return _refused(name, str(value).encode(), f"the time {str(at)[:40]!r} is not ISO 8601", "Mend it")
    return Record(name, value, None, moment)


def _csv(path: Path) -> Iterator[Record]:
    with _open(path) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig") as text:
        label_at, group_at = 0, -1
        for number, line in enumerate(text, 1):
            try:
                # Line by line: a stray quote must not swallow the records that follow it.
                row = next(csv.reader([line], strict=True), [])
            except csv.Error as error:
                yield _refused(f"line {number}", line.encode(), f"the line is no CSV ({error})", "Mend its quotes")
                continue
            if number == 1 and len(row) < 2:
                raise Refusal("the file is none of the known formats", path, HINT)
            if number == 1 and not all(_is_number(cell) for cell in row[1:]):
                if "label" not in row:
                    raise Refusal("its header names no `label`", path, HINT)
                label_at = row.index("label")
                group_at = row.index("group") if "group" in row else -1
                continue
            if row and len(row) <= label_at:
                yield _refused(f"line {number}", line.encode(), "the line ends before its label", "Mend it")
            elif row:
                pixels = [cell for at, cell in enumerate(row) if at not in (label_at, group_at)]
                group = row[group_at] if 0 <= group_at < len(row) else None
                yield _of_group(_pixels(f"line {number}", pixels, row[label_at]), group)


def _is_number(cell: str) -> bool:
    return cell.strip().lstrip("-").isdigit()


def _text(label: Any) -> str | None:
    return None if label is None else str(label)


def _pixels(name: str, cells: list[Any], label: Any, captured_at: Any = None) -> Record:
    """A flat list of pixels; the contract gives it its shape, since a CSV has none."""
    try:
        values = [int(str(c)) for c in cells]
        np.array(values)
    except (ValueError, OverflowError):
        return _refused(name, ",".join(map(str, cells)).encode(), "a pixel is no whole number", "Give whole numbers",
                        _text(label), captured_at)  # fmt: skip
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
        yield _refused(_shown(file.name), file.read_bytes(), "the file is in no class's folder", "Move it into one")


def _shown(name: str) -> str:
    """A name that is not UTF-8 on the disk, so that it can be written down."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _kind_or_unknown(path: Path) -> str:
    try:
        return kind(path)
    except (OSError, EOFError):  # broken gzip: a stray file, refused below by name
        return "unknown"


def records(inputs: Path, labels: Path | None, of: str) -> Iterator[Record]:
    """The records of a source, which are of this kind: `image`, `text` or `series`."""
    what = kind(inputs) if inputs.is_file() else "folder" if inputs.is_dir() else "no file"
    if of != "image":
        if what not in ("csv", "parquet"):
            empty = inputs.is_file() and not inputs.stat().st_size
            told = "the file is empty" if empty else f"it is neither CSV nor Parquet ({what})"
            raise Refusal(told, inputs, HINTS[of])
        return _parquet(inputs, of) if what == "parquet" else _table(inputs, of)
    if what == "folder":
        return _folder(inputs)
    if what == "idx":
        beside = labels or inputs.with_name(inputs.name.replace("images-idx3", "labels-idx1"))
        if beside == inputs or not beside.exists():
            raise Refusal("there is no file of labels beside it", inputs, "Give the folder that holds both IDX files")
        return _pairs({inputs.name: idx(inputs), beside.name: idx(beside)}, inputs)
    if what == "npz":
        return _npz(inputs)
    if what == "parquet":
        return _parquet(inputs, of)
    if what == "csv":
        return _csv(inputs)
    if what == "image":
        raise Refusal("a single image has no label", inputs, "Put it into a folder named after its class")
    empty = inputs.stat().st_size == 0
    raise Refusal("the file is empty" if empty else "the file is none of the known formats", inputs, HINT)
