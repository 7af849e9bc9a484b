"""Whether inputs are in a table already, without reading the digests of its rows each time.

The first eight bytes of each digest are kept, sorted, in a file for each file of the table, which is read once for it:
that two of ten million inputs share them is improbable (3e-6). These files are a cache. They go with the file that
they are of, so that nothing is left of an input that is forgotten.
"""

import io
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa

from ratchet import files
from ratchet.lake import table
from ratchet.lake.rows import digest_bytes

_FOLDER = "keys-1"
"""With the number of the format."""
_KEY = np.dtype(">u8")
_WRITING_SECONDS = 3600.0
"""After which a file that was not renamed was left by a process that was killed."""


def keys(digests: Iterable[pa.Array]) -> np.ndarray:
    """The first eight bytes of each digest [N], as a number."""
    parts = [digest_bytes([each]).view(_KEY)[::4].astype(np.uint64) for each in digests if len(each)]
    return np.concatenate(parts) if parts else np.empty(0, np.uint64)


def among(path: Path, wanted: np.ndarray) -> np.ndarray:
    """Whether each of the keys [N] is that of an input of the table's newest version [N]."""
    present = np.zeros(len(wanted), bool)
    for name, rows in table.files(path, ["input"]).items():
        known = _read(path, name)
        if known is None:
            known = np.sort(keys(part["input"].drop_null() for part in rows.parts()))
            with suppress(OSError):  # a full or a read-only disk costs time alone
                _keep(path, name, known)
        if len(known):
            places = np.searchsorted(known, wanted).clip(max=len(known) - 1)
            present |= known[places] == wanted
    return present


def prune(path: Path) -> None:
    """Removes the keys of files that the table's newest version no longer has."""
    if not _folder(path).is_dir():
        return
    present = {f"{name}.npy" for name in table.files(path, ["input"])}
    for file in _folder(path).iterdir():
        with suppress(FileNotFoundError):
            is_being_written = file.name.startswith(".") and time.time() - file.stat().st_mtime < _WRITING_SECONDS
            if file.name not in present and not is_being_written:
                file.unlink()


def _folder(path: Path) -> Path:
    return path.parent / _FOLDER / path.name


def _read(path: Path, name: str) -> np.ndarray | None:
    """The sorted keys of a file of the table, if they are kept and whole."""
    try:
        known: np.ndarray = np.load(_folder(path) / f"{name}.npy", mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return None
    return known


def _keep(path: Path, name: str, known: np.ndarray) -> None:
    content, file = io.BytesIO(), _folder(path) / f"{name}.npy"
    np.save(content, known)
    files.replace(file, content.getvalue())
    if not (path / name).exists():  # its rows were forgotten meanwhile
        file.unlink(missing_ok=True)
    prune(path)
