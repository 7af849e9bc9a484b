"""The files of a log on this host: JSON lines that a process writes, and that are collected and then removed.

A segment is complete when its name ends in `.jsonl`, or when its process is dead. Each process locks a file beside it
while it lives, which has the numbers of rows that it should have logged and that it lost. The same numbers are in
memory, where requests count: a disk that stops must not stop them. What a killed process lost is read from there, and
after a restart of the machine from the file. Needs only the standard library.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import re
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

SEGMENT_BYTES = 1 << 20
"""From which on a segment is complete."""
NAME = re.compile(r"(predictions|feedback)-([0-9a-f]{16})-([0-9]{6,})\.(jsonl|open)")
"""The kind of a segment, the id of its process, and its number there."""
_COUNTS = struct.Struct("<QQ")
_MEMORY = Path("/dev/shm")  # noqa: S108
"""Linux's file system in memory."""


def _in_memory(process: str) -> Path:
    return _MEMORY / f"ratchet-{os.getuid()}-{process}"


class Counts:
    """The rows that a process should have logged, and those that it knows to be lost."""

    def __init__(self, folder: Path, process: str) -> None:
        """Raises OSError if the files cannot be made."""
        self._folder, self._process = folder, process
        self._file = self._lock_file()
        shared = self._file
        if _MEMORY.is_dir():
            shared = os.open(_in_memory(process), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            os.posix_fallocate(shared, 0, _COUNTS.size)
        self._map = mmap.mmap(shared, _COUNTS.size)
        self.taken = self.lost = 0
        self._saved = (0, 0)
        self._lock = threading.Lock()

    def _lock_file(self) -> int:
        """Opens the file beside the log, and locks it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        hidden = self._folder / f".{self._process}.counts"
        file = os.open(hidden, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(file, fcntl.LOCK_EX)
        os.posix_fallocate(file, 0, _COUNTS.size)  # without its block, a full disk would end the process
        hidden.rename(self._folder / f"{self._process}.counts")  # from here on it is seen, and locked
        return file

    def take(self, rows: int) -> int:
        """Counts rows that are to be logged; returns the number of the first."""
        with self._lock:
            first, self.taken = self.taken, self.taken + rows
            _COUNTS.pack_into(self._map, 0, self.taken, self.lost)
        return first

    def lose(self, rows: int) -> None:
        with self._lock:  # a request and the log's thread may both lose rows
            self.lost += rows
            _COUNTS.pack_into(self._map, 0, self.taken, self.lost)

    def save(self) -> None:
        """Writes the numbers to the disk, if they changed, and makes a file anew that somebody deleted.

        Raises OSError if the disk refuses.
        """
        if _is_deleted(self._file):
            os.close(self._file)
            self._file, self._saved = self._lock_file(), (0, 0)
        numbers = self.taken, self.lost
        if numbers != self._saved:
            os.pwrite(self._file, _COUNTS.pack(*numbers), 0)
            self._saved = numbers


class Segments:
    """Writes the segments of one kind. Every method raises OSError if the disk refuses, and then nothing is written."""

    def __init__(self, folder: Path, kind: str, process: str, limit: int) -> None:
        self._folder, self._stem, self._limit = folder, f"{kind}-{process}", limit
        self._number, self._file, self._size, self._opened = 0, -1, 0, 0.0
        self._is_named = False
        """Whether the folder's entry of the file is on the disk."""

    def write(self, lines: bytes, durable: bool = False) -> None:
        """Appends whole lines; `durable` ones survive a power failure."""
        if self._file >= 0 and _is_deleted(self._file):
            os.close(self._file)
            self._file, self._number = -1, self._number + 1
        if self._file < 0:
            self._open()
        try:
            self._append(lines)
            if durable:
                os.fsync(self._file)
                self._sync_name()
        except OSError:
            os.ftruncate(self._file, self._size)  # no half line stays
            raise
        self._size += len(lines)
        if self._size >= SEGMENT_BYTES:
            with suppress(OSError):  # the lines are kept, and the next call tries again
                self.close()

    def close(self, age: float = 0.0) -> None:
        """Completes the segment, if there is one of this age in seconds."""
        if self._file < 0 or time.monotonic() - self._opened < age:
            return
        os.fsync(self._file)
        file, self._file = self._file, -1  # whatever happens next, nobody writes to a number that is free again
        closed, completed = self._path("open"), self._path("jsonl")
        self._number += 1
        os.close(file)
        closed.rename(completed)

    def _open(self) -> None:
        taken = sum(map(_size, self._folder.iterdir()))
        if taken >= self._limit:
            raise OSError(f"the log has {taken >> 20} MB that were not collected, above its limit")
        self._file = os.open(self._path("open"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._is_named = False
        self._size, self._opened = 0, time.monotonic()

    def _sync_name(self) -> None:
        """Without it a power failure leaves the lines in a file that no folder names."""
        if not self._is_named:
            folder = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
            self._is_named = True

    def _append(self, lines: bytes) -> None:
        left = memoryview(lines)
        while left:
            left = left[os.write(self._file, left) :]

    def _path(self, suffix: str) -> Path:
        return self._folder / f"{self._stem}-{self._number:06}.{suffix}"


def _is_deleted(file: int) -> bool:
    """Whether somebody deleted an open file."""
    return os.fstat(file).st_nlink == 0


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:  # it was collected in this moment
        return 0


@dataclass(frozen=True)
class Writer:
    """A process that writes, or wrote, segments here."""

    process: str
    alive: bool
    taken: int
    lost: int


def writers(folder: Path) -> list[Writer]:
    """Every process that has a file of counts here."""
    return [_writer(path) for path in sorted(folder.glob("*.counts"))]


def _writer(path: Path) -> Writer:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alive = False
        except BlockingIOError:
            alive = True
        saved = file.read(_COUNTS.size)
    counts = _read_memory(path.stem) or saved
    taken, lost = _COUNTS.unpack(counts) if len(counts) == _COUNTS.size else (0, 0)
    return Writer(path.stem, alive, taken, lost)


def _read_memory(process: str) -> bytes:
    """The numbers that a process of this user left in memory; nothing if there are none."""
    try:
        with open(os.open(_in_memory(process), os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            return file.read(_COUNTS.size) if os.fstat(file.fileno()).st_uid == os.getuid() else b""
    except OSError:
        return b""


def remove(folder: Path, name: str) -> None:
    """Removes a segment, or the counts of a process."""
    (folder / name).unlink(missing_ok=True)
    if name.endswith(".counts"):
        _in_memory(name.removesuffix(".counts")).unlink(missing_ok=True)


def complete(folder: Path) -> list[str]:
    """The names of the segments that no process writes any more, oldest first for each process."""
    alive = {writer.process for writer in writers(folder) if writer.alive}
    matches = [match for path in folder.glob("*-*.*") if (match := NAME.fullmatch(path.name))]
    ended = [match for match in matches if match[4] == "jsonl" or match[2] not in alive]
    return [match.string for match in sorted(ended, key=lambda match: (match[1], match[2], int(match[3])))]


def expire(folder: Path, seconds: float) -> int:
    """Removes complete segments that are older, and were never collected; the number of them."""
    now, count = time.time(), 0
    for path in (folder / name for name in complete(folder)):
        with suppress(FileNotFoundError):  # it was collected in this moment
            if now - path.stat().st_mtime > seconds:
                path.unlink()
                count += 1
    return count


def is_removable(folder: Path, name: str) -> bool:
    """Whether it is a complete segment, or the counts of a process that is dead."""
    match = NAME.fullmatch(name)
    if match and match[4] == "jsonl":
        return (folder / name).exists()
    ended = {f"{writer.process}.counts" for writer in writers(folder) if not writer.alive}
    return name in ended or name in complete(folder)
