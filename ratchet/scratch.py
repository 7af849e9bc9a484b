"""Scratch folders. A lock of its process lies beside each, so that one which a killed process left can be told."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ratchet.errors import Refusal
from ratchet.files import locked
from ratchet.settings import Settings, settings


def outside(config: Settings) -> Path:
    """The folder for what must not lie below the home. Raises Refusal if another user made it.

    BentoML builds nothing below a hidden folder such as `.ratchet`, and the path of a Unix socket must be short.
    """
    path = Path(tempfile.gettempdir()) / f"ratchet-{config.marker}"
    path.mkdir(mode=0o700, exist_ok=True)
    if path.is_symlink() or path.stat().st_uid != os.getuid():
        raise Refusal("the scratch folder belongs to another user", path, "Remove it, or set TMPDIR")
    return path


@contextmanager
def scratch_folder(config: Settings | None = None, outside_home: bool = False) -> Iterator[Path]:
    """An empty folder, removed at the end; below the home, whose disk has the room, unless it must not be."""
    config = config or settings()
    base = outside(config) if outside_home else config.home / "tmp"
    base.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(suffix=".lock", dir=base) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path = Path(lock.name).with_suffix("")
        path.mkdir()
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


def sweep(config: Settings) -> int:
    """Removes the scratch folders whose process is gone; returns how many there were."""
    swept = 0
    for path in (config.home / "tmp").glob("*"):
        if path.is_dir() and not path.with_suffix(".lock").exists():  # an earlier Ratchet locked none
            shutil.rmtree(path, ignore_errors=True)
            swept += 1
    for lock in (path for base in (outside(config), config.home / "tmp") for path in base.glob("*.lock")):
        with locked(lock, wait=False) as free:
            if free:
                shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
                lock.unlink(missing_ok=True)
                swept += 1
    return swept
