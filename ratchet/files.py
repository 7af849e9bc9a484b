"""Files that outlive a process: replaced as a whole or not at all."""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ratchet.errors import Refusal

FORMAT = 1
"""Raise it when a kept file changes its shape, and keep a reader for the format before."""


def replace(path: Path, content: str | bytes) -> None:
    """Writes beside the file, syncs and renames: a reader sees the old content or the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    with part.open("wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def sync_folder(path: Path) -> None:
    """Brings the names in a folder to the disk, as that of a file that was renamed."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def replace_json(path: Path, content: Any) -> None:
    replace(path, json.dumps(content, indent=1))


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Replaces a file of ours that `load` reads back."""
    replace_json(path, {"format": FORMAT, **content})


def load(path: Path) -> dict[str, Any] | None:
    """What `save` wrote, or None if there is no file. Raises Refusal on a newer format or a broken file."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        format = content.pop("format")
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise Refusal("the file may not be read", path, "Give this user the right to, or use another home") from error
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise Refusal(f"the file cannot be read ({error})", path, "Restore it from a copy, or remove it") from error
    if format > FORMAT:
        raise Refusal(f"the file has format {format}, and this Ratchet reads up to {FORMAT}", path, "Upgrade Ratchet")
    return content


def replace_link(path: Path, target: str) -> None:
    """Points a symbolic link to another target in one step."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.unlink(missing_ok=True)
    part.symlink_to(target)
    os.replace(part, path)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_folder(path: Path) -> str:
    """Over the names below the folder and the SHA-256 of each file, in order."""
    digest = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        digest.update(os.fsencode(file.relative_to(path)) + b"\0" + bytes.fromhex(sha256(file)))
    return digest.hexdigest()


@contextmanager
def locked(path: Path, wait: bool = True, shared: bool = False) -> Iterator[bool]:
    """Holds a lock that ends with the process; yields whether it was acquired. Many may hold a `shared` one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
            acquired = True
        except BlockingIOError:
            acquired = False
        yield acquired
