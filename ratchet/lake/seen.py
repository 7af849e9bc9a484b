"""Whether inputs are in a table already, at a cost that follows their number and not that of the table's rows.

The first eight bytes of each digest are kept, sorted, in a file beside each file of the table, and read where they are
searched: that two of ten million inputs share them is improbable (3e-6).
"""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa

from ratchet.lake import table
from ratchet.lake.rows import Rows, digest_bytes

_KEY = np.dtype(">u8")


def keys(digests: Iterable[pa.Array]) -> np.ndarray:
    """The first eight bytes of each digest [N], as a number."""
    return digest_bytes(digests).view(_KEY).reshape(-1, 4)[:, 0].astype(np.uint64)


def among(path: Path, wanted: np.ndarray) -> np.ndarray:
    """Whether each of the keys [N] is that of an input of the table's newest version [N]."""
    present = np.zeros(len(wanted), bool)
    for name, rows in table.files(path, ["input"]).items():
        known = _kept(_folder(path) / f"{name}.npy", rows)
        if len(known):
            places = np.searchsorted(known, wanted).clip(max=len(known) - 1)
            present |= known[places] == wanted
    return present


def prune(path: Path) -> None:
    """Removes the keys of files that the table's newest version no longer has, since their rows may be erased."""
    if not _folder(path).is_dir():
        return
    present = {f"{name}.npy" for name in table.files(path, ["input"])}
    for file in _folder(path).iterdir():
        if file.name not in present:
            file.unlink(missing_ok=True)


def _folder(path: Path) -> Path:
    return path.parent / "keys" / path.name


def _kept(file: Path, rows: Rows) -> np.ndarray:
    """The sorted keys of a file of the table, which are computed once. They are a cache: a broken one is replaced."""
    try:
        return np.load(file, mmap_mode="r")
    except (OSError, ValueError):
        pass
    own = np.sort(keys(part["input"].drop_null() for part in rows.parts()))
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.stem}.{os.getpid()}.npy")
    np.save(part, own)
    os.replace(part, file)
    return own
