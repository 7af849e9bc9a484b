"""Scratch folders. A lock of its process lies beside each, so that one which a killed process left can be told."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ratchet.errors import Refusal
from ratchet.files import locked
from ratchet.settings import Settings, settings


def outside(config: Settings) -> Path:
    """The folder for what must not lie below the home. Raises Refusal if another user made it.

    BentoML builds nothing below a hidden folder such as `.ratchet`, and the path of a Unix socket must be short.
    """
    path = Path(tempfile.gettempdir()) / f"ratchet-{config.marker}"
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    if path.is_symlink() or not path.is_dir() or path.stat().st_uid != os.getuid():
        raise Refusal("the scratch folder is no folder of this user", path, "Remove it, or set TMPDIR")
    return path


@contextmanager
def scratch_folder(config: Settings | None = None, outside_home: bool = False) -> Iterator[Path]:
    """An empty folder, removed at the end; below the home, whose disk has the room, unless it must not be."""
    config = config or settings()
    base = outside(config) if outside_home else config.home / "tmp"
    base.mkdir(parents=True, exist_ok=True)
    lock = _locked_file(base)
    path = Path(lock.name).with_suffix("")
    path.mkdir()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        Path(lock.name).unlink(missing_ok=True)
        lock.close()


def _locked_file(base: Path) -> Any:
    """A new file that this process holds; one that `sweep` took in the moment before is left to it."""
    while True:
        lock = tempfile.NamedTemporaryFile(suffix=".lock", dir=base, delete=False)  # noqa: SIM115
        fcntl.flock(lock, fcntl.LOCK_EX)
        if Path(lock.name).exists():
            return lock
        lock.close()


def sweep(config: Settings) -> int:
    """Removes the scratch folders whose process is gone; returns how many there were."""
    swept = 0
    for lock in (path for base in (outside(config), config.home / "tmp") for path in base.glob("*.lock")):
        with locked(lock, wait=False) as free:
            if free:
                shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
                lock.unlink(missing_ok=True)
                swept += 1
    return swept
