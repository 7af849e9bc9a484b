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
from ratchet.lake.tabular import Columns, Report, text_of
from ratchet.layout import Layout
from ratchet.settings import settings

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


def _folder(path: Path, layout: Layout, report: Report) -> Iterator[Record]:
    files = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
    if pairs := [f for f in files if _format_or_unknown(f) == "idx"]:
        yield from _pairs({f.name: idx(f) for f in pairs}, path)
        return
    if listed := _list_of_paths(files, layout):
        yield from _listed(path, listed, layout, report)
        return
    for label, folder in classes(path, report):
        for file in sorted(p for p in folder.rglob("*") if p.is_symlink() or not p.is_dir()):
            yield _image_file(_shown(str(file.relative_to(path))), file, path, _shown(label))
    for file in files:
        what = "the file is not in the folder of a class"
        yield refused(_shown(file.name), file.read_bytes(), what, "Move it into one")


_SIDES = frozenset(("train", "training", "val", "valid", "validation", "test", "testing"))


def classes(path: Path, report: Report = lambda fact: None) -> list[tuple[str, Path]]:
    """The folders of images with the class of each.

    Where the folders are sides (`train`, `val`, `test`) that hold the classes, all sides are read as one: Ratchet
    splits by digest itself.
    """
    folders = _folders(path)
    if not (len(folders) > 1 and all(folder.name.lower() in _SIDES for folder in folders)):
        return [(folder.name, folder) for folder in folders]
    report(f"its folders {', '.join(folder.name for folder in folders)} are read as one, and split by digest")
    return [(inner.name, inner) for folder in folders for inner in _folders(folder)]


def _folders(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))


def _list_of_paths(files: list[Path], layout: Layout) -> Path | None:
    """A file in the folder that names images and their labels."""
    for file in files:
        if _format_or_unknown(file) in ("csv", "json lines", "parquet", "arrow"):
            with contextlib.suppress(Refusal, UnicodeDecodeError):
                next(tabular.rows(file, ["path", "label"], layout, lambda fact: None, HINT), None)
                return file
    return None


def _listed(path: Path, listed: Path, layout: Layout, report: Report) -> Iterator[Record]:
    """The images that a table names by their path below the folder."""
    report(f"{listed.name} names the images and their labels")
    for record in tabular.records(listed, Columns("path", "label", HINT), layout, report):
        if record.problem:
            yield record
            continue
        file = path / str(record.value)
        image = _image_file(_shown(str(record.value)), file, path, record.label)
        yield replace(image, captured_at=record.captured_at, group=record.group)


def _image_file(name: str, file: Path, folder: Path, label: str | None) -> Record:
    if problem := unreadable(file, folder):
        return refused(name, b"", *problem, label=label)
    return Record(name, file.read_bytes(), label)


def unreadable(file: Path, folder: Path) -> tuple[str, str] | None:
    """Why a file in that folder is not read, and what to do; None if it is.

    Links as DVC and git-annex make them are followed to the folder itself and to those that a setting names: who may
    send a folder could read any file of this machine otherwise.
    """
    if not file.is_file():
        kind = "a link to nothing" if file.is_symlink() and not file.exists() else "no file"
        return f"it is {kind}", "Give the file itself; `dvc pull` or `git annex get` fetches it"
    target, roots = file.resolve(), [folder, *settings().linked_folders]
    if any(target.is_relative_to(root.resolve()) for root in roots):
        return None
    return f"it is a link into {target.parent}, outside the folder", "Name that folder in RATCHET_LINKS"


def _shown(name: str) -> str:
    """A file name as printable UTF-8, whatever its bytes on the disk are."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _format_or_unknown(path: Path) -> str:
    try:
        return format_of(path)
    except (OSError, EOFError):  # broken gzip: the file is refused below by name
        return "unknown"
