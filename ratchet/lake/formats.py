"""Detects the format of a source file by its bytes; and a record as a source has it."""

import codecs
import gzip
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ratchet.errors import Refusal

IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
"""NumPy's types of an IDX file's values, by the third byte."""


@dataclass(frozen=True)
class Record:
    name: str
    value: np.ndarray | list[int] | Mapping[str, Any] | bytes | str | float | None
    """A decoded array, a row of a CSV with pixels, cells by column, the bytes of an image file, a text or a number."""
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
    """`idx`, `npz`, `parquet`, `arrow`, `image`, `csv`, `json lines`, or what else it is, by the bytes.

    Raises OSError, EOFError.
    """
    head = _head(path)
    if head[:2] == b"\0\0" and len(head) >= 4 and head[2] in IDX_TYPES and head[3] in (1, 2, 3, 4):
        return "idx"
    if head[:4] == b"PK\3\4":
        return _archive(path)
    if head[:4] == b"PAR1":
        return "parquet"
    if head[:6] == b"ARROW1":
        return "arrow"
    if head[:8] == b"\x89PNG\r\n\x1a\n" or head[:3] == b"\xff\xd8\xff":
        return "image"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "csv"
    if head.lstrip().startswith((b"[{", b"[\n", b"[ ")):
        return "a JSON array; write one object a line"
    if head and not any(b < 9 or 13 < b < 32 for b in head):
        return "json lines" if head.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{") else "csv"
    return "unknown"


def _archive(path: Path) -> str:
    """What a ZIP archive holds."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return "npz"  # a broken one, which its reader refuses
    if any(name.startswith("xl/") for name in names):
        return "an Excel workbook; save it as CSV"
    return "npz" if any(name.endswith(".npy") for name in names) else "a ZIP archive; unpack it"


def of_group(record: Record, group: Any) -> Record:
    """The record with the group of people that its row names."""
    return record if group is None or str(group) == "" else replace(record, group=str(group)[:100])
