"""What ingest reads as images: IDX, .npz, Parquet, CSV of pixels, or a folder of image files by class."""

import contextlib
import csv
import io
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ratchet.errors import Refusal
from ratchet.kinds.image.contract import ImageContract
from ratchet.lake import tabular
from ratchet.lake.formats import IDX_TYPES, Record, format_of, of_group, open_file, refused
from ratchet.lake.links import unreadable
from ratchet.lake.tabular import Columns, Report, text_of
from ratchet.layout import Layout

HINT = (
    "Give IDX, .npz, Parquet, CSV of pixels, or a folder of PNG, JPEG, WebP, TIFF or BMP by class, "
    "or with a table of `path` and `label`"
)


def read(
    contract: ImageContract, inputs: Path, labels: Path | None, layout: Layout, report: Report
) -> Iterator[Record]:
    """The records of a file or folder. Raises Refusal if it is of another format."""
    if inputs.is_dir():
        return _folder(inputs, layout, report)
    format = format_of(inputs) if inputs.is_file() else "no file"
    if format == "idx":
        beside = labels or inputs.with_name(inputs.name.replace("images-idx3", "labels-idx1"))
        if beside == inputs or not beside.exists():
            raise Refusal("it has no file of labels beside it", inputs, "Give the folder that holds both IDX files")
        return _pairs({inputs.name: idx(inputs), beside.name: idx(beside)}, inputs)
    if format == "npz":
        return _npz(inputs)
    if format in ("parquet", "arrow"):
        return tabular.records(inputs, Columns("image", "label", HINT, record=_record), layout, report)
    if format == "csv":
        return _csv(inputs)
    if format == "image":
        raise Refusal("a single image has no label", inputs, "Put it into a folder named after its class")
    empty = inputs.is_file() and inputs.stat().st_size == 0
    raise Refusal("the file is empty" if empty else f"the format of the file is {format}", inputs, HINT)


def _record(name: str, value: Any, cells: Mapping[str, Any]) -> Record:
    """A row of a Parquet file: the bytes of an image file, also as Hugging Face's datasets store them, or pixels."""
    if isinstance(value, dict):
        value = value.get("bytes")
    if isinstance(value, list):
        return _pixels(name, value, cells["label"])
    return Record(name, value, text_of(cells["label"]))


def idx(path: Path) -> np.ndarray:
    """One IDX file (http://yann.lecun.com/exdb/mnist/): magic, big-endian sizes, values."""
    with open_file(path) as file:
        magic = file.read(4)
        if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in IDX_TYPES:
            raise Refusal("the file is not an IDX file", path, HINT)
        sizes = np.frombuffer(_exactly(file, 4 * magic[3], path), ">u4").tolist()
        dtype = np.dtype(IDX_TYPES[magic[2]])
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
            if member.filename.removesuffix(".npy") in arrays:
                raise Refusal(f"it has two members named {member.filename}", path, "Give each array once")
            with archive.open(member) as file:
                if file.read(6) != b"\x93NUMPY":
                    raise Refusal(f"its member {member.filename} is not a NumPy array", path, HINT)
            with archive.open(member) as file:
                arrays[member.filename.removesuffix(".npy")] = np.lib.format.read_array(file, allow_pickle=False)
    yield from _pairs(arrays, path)


def _csv(path: Path) -> Iterator[Record]:
    with open_file(path) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig") as text:
        label_at, group_at = 0, -1
        order: list[int] = []
        for number, line in enumerate(text, 1):
            try:
                # Line by line: a stray quote must not swallow the records after it.
                row = next(csv.reader([line], strict=True), [])
            except csv.Error as error:
                yield refused(f"line {number}", line.encode(), f"the line is not CSV ({error})", "Correct its quotes")
                continue
            if number == 1 and len(row) < 2:
                raise Refusal("the file has an unknown format", path, HINT)
            if number == 1 and not all(_is_number(cell) for cell in row[1:]):
                if "label" not in row:
                    raise Refusal("its header has no `label`", path, HINT)
                label_at = row.index("label")
                group_at = row.index("group") if "group" in row else -1
                order = _order(row, {label_at, group_at})
                continue
            if row and len(row) <= label_at:
                yield refused(f"line {number}", line.encode(), "the line ends before its label", "Correct the line")
            elif row:
                pixels = [cell for at, cell in enumerate(row) if at not in (label_at, group_at)]
                pixels = [pixels[at] for at in order] if len(order) == len(pixels) else pixels
                group = row[group_at] if 0 <= group_at < len(row) else None
                yield of_group(_pixels(f"line {number}", pixels, row[label_at]), group)


def _order(header: list[str], others: set[int]) -> list[int]:
    """The places of the pixels in the order of the numbers that their names end in; empty if they have none."""
    names = [name for at, name in enumerate(header) if at not in others]
    ends = [re.search(r"\d+$", name.strip()) for name in names]
    numbers = [int(end.group()) for end in ends if end]
    if len(numbers) < len(names) or len(set(numbers)) < len(numbers):
        return []
    return sorted(range(len(numbers)), key=numbers.__getitem__)


def _is_number(cell: str) -> bool:
    return cell.strip().lstrip("-").isdigit()


def _pixels(name: str, cells: list[Any], label: Any) -> Record:
    """A flat list of pixels; the contract knows its shape, since a CSV has none."""
    try:
        values = [int(str(c)) for c in cells]
        np.array(values)
    except (ValueError, OverflowError):
        payload = ",".join(map(str, cells)).encode()
        return refused(name, payload, "a pixel is not an integer", "Give integers", text_of(label))
    return Record(name, values, text_of(label))


def _is_file(path: Path) -> bool:
    """Also a link to nothing; a link to a folder is the folder of a class."""
    return path.name[0] != "." and path.name not in _JUNK and not path.is_dir()


def _folder(path: Path, layout: Layout, report: Report) -> Iterator[Record]:
    files = []
    for file in sorted(p for p in path.iterdir() if _is_file(p)):
        if problem := unreadable(file, path):
            yield refused(_shown(file.name), b"", *problem)
        else:
            files.append(file)
    if pairs := [f for f in files if _format_or_unknown(f) == "idx"]:
        yield from _pairs({f.name: idx(f) for f in pairs}, path)
        return
    if tables := [file for file in files if _lists_paths(file, layout)]:
        yield from _listed(path, tables, layout, report)
        return
    if sides := _sides(path):
        report(f"its folders {', '.join(side.name for side in sides)} are read as one, and split by digest")
        files += [file for side in sides for file in sorted(side.iterdir()) if not file.is_dir()]
    for folder in class_folders(path):
        for file in sorted(p for p in folder.rglob("*") if p.is_symlink() or not p.is_dir()):
            if file.name not in _JUNK:
                yield _image_file(_shown(str(file.relative_to(path))), file, path, _shown(folder.name))
    for file in files:
        name = _shown(str(file.relative_to(path)))
        if problem := unreadable(file, path):
            yield refused(name, b"", *problem)
        else:
            next_ = "Move it into one; a table needs the columns `path` and `label`"
            yield refused(name, file.read_bytes(), "the file is not in the folder of a class", next_)


_JUNK = frozenset((".DS_Store", "Thumbs.db", "desktop.ini"))
"""What systems put into folders of pictures by themselves."""
_SIDES = frozenset(("train", "training", "val", "valid", "validation", "test", "testing"))


def _sides(path: Path) -> list[Path]:
    """The folders, if they are sides (`train`, `val`, `test`) that hold the classes."""
    folders = _folders(path)
    return folders if len(folders) > 1 and all(folder.name.lower() in _SIDES for folder in folders) else []


def class_folders(path: Path) -> list[Path]:
    """The folders of images, each named after its class; those of all sides, since Ratchet splits by digest itself."""
    sides = _sides(path)
    return [folder for side in sides for folder in _folders(side)] if sides else _folders(path)


def _folders(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))


def _lists_paths(file: Path, layout: Layout) -> bool:
    """Whether a file in the folder names images and their labels."""
    if _format_or_unknown(file) not in ("csv", "json lines", "parquet", "arrow"):
        return False
    with contextlib.suppress(Exception):  # any other file is refused below by its name
        next(tabular.rows(file, ["path", "label"], layout, lambda fact: None, HINT), None)
        return True
    return False


def _listed(path: Path, tables: list[Path], layout: Layout, report: Report) -> Iterator[Record]:
    """The images that tables name by their path below the folder."""
    named = set()
    for table in tables:
        report(f"{table.name} names images and their labels")
        for record in tabular.records(table, Columns("path", "label", HINT), layout, report):
            if record.problem:
                yield record
                continue
            name = str(record.value).replace("\\", "/")
            named.add(name)
            if Path(name).is_absolute() or ".." in Path(name).parts:
                what = "the path does not lie below the folder"
                yield refused(_shown(name), b"", what, "Give paths relative to the folder", label=record.label)
                continue
            image = _image_file(_shown(name), path / name, path, record.label)
            yield replace(image, captured_at=record.captured_at, group=record.group)
    others = sum(1 for p in path.rglob("*") if p.is_file() and str(p.relative_to(path)) not in named) - len(tables)
    if others:
        report(f"{others} other files of the folder are left out, since no table names them")


def _image_file(name: str, file: Path, folder: Path, label: str | None) -> Record:
    if problem := unreadable(file, folder):
        return refused(name, b"", *problem, label=label)
    return Record(name, file.read_bytes(), label)


def _shown(name: str) -> str:
    """A file name as printable UTF-8, whatever its bytes on the disk are."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _format_or_unknown(path: Path) -> str:
    try:
        return format_of(path)
    except (OSError, EOFError):  # broken gzip: the file is refused below by name
        return "unknown"
