"""Takes what is put into a recipe's inbox, a folder of the home: batches, and files of labels named `labels…`.

A file or folder is taken when nothing of it has changed for a while, and is moved into `.taken` or `.refused` beside
it. Killed in between, it is taken again, which lands nothing twice.
"""

import os
import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ratchet.errors import Refusal
from ratchet.files import replace, sync_folder
from ratchet.settings import settings, without_password

_QUIET = 10.0
"""Seconds without a change after which whoever writes it has finished."""


def folder(recipe: str) -> Path:
    return settings().home / "inbox" / recipe


def unknown(recipes: Collection[str]) -> list[str]:
    """The folders in the inbox, in which somebody may have put a batch, that are of no recipe."""
    home = settings().home / "inbox"
    return sorted(printable(path.name) for path in home.glob("*") if path.is_dir() and path.name not in recipes)


def fetch(recipe: str) -> None:
    """Moves the files of the recipe from the setting `inbox` here. Killed in between, it fetches one again.

    One whose name waits here already is fetched later. Raises Refusal if a bucket cannot be read, or holds a file that
    is too large; the others are fetched.
    """
    if not settings().inbox:
        return
    import pyarrow as pa
    from pyarrow import fs

    limit, too_large = settings().ingest_disk_mb << 20, list[str]()
    folder(recipe).mkdir(parents=True, exist_ok=True)
    try:
        remote, prefix = fs.FileSystem.from_uri(settings().inbox)
        # Of a bucket its name alone: a folder there exists only while something is in it.
        root = prefix.partition("/")[0] or prefix
        if remote.get_file_info(root).type == fs.FileType.NotFound:
            raise FileNotFoundError(f"there is no {root}")
        for info in remote.get_file_info(fs.FileSelector(f"{prefix}/{recipe}", allow_not_found=True)):
            if info.type != fs.FileType.File or info.base_name.startswith(".") or not _is_quiet(info):
                continue
            if info.size > limit:
                too_large.append(info.base_name)
            elif not (folder(recipe) / info.base_name).exists():
                _move_here(remote, info, folder(recipe))
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0].replace(settings().inbox, without_password(settings().inbox))[:200]
        next = "See that it can be reached, and that RATCHET_INBOX is right"
        raise Refusal(f"the bucket of the inbox cannot be read ({reason})", recipe, next) from error
    if too_large:
        what = f"{', '.join(too_large)} in the bucket of the inbox has more than {settings().ingest_disk_mb} MB"
        raise Refusal(what, recipe, "Divide it, or raise RATCHET_INGEST_DISK_MB")


def _move_here(remote: Any, info: Any, here: Path) -> None:
    """Moves one file, unless it changes meanwhile; `remote` is a file system of Arrow's."""
    part = here / f".{info.base_name}.part"
    with remote.open_input_stream(info.path) as source, part.open("wb") as target:
        shutil.copyfileobj(source, target)
        target.flush()
        os.fsync(target.fileno())
    now = remote.get_file_info(info.path)
    if (now.size, now.mtime_ns) != (info.size, info.mtime_ns):
        part.unlink()
        return
    if info.mtime_ns is not None:
        os.utime(part, ns=(info.mtime_ns, info.mtime_ns))
    part.rename(here / info.base_name)
    sync_folder(here)
    remote.delete_file(info.path)


def _is_quiet(info: Any) -> bool:
    """Whether a file was not changed lately; some buckets do not say."""
    return info.mtime_ns is None or abs(time.time() - info.mtime_ns / 1e9) >= _QUIET


def waiting(recipe: str, now: float | None = None) -> list[Path]:
    """What is complete, oldest first; names that begin with a dot are left alone."""
    now, inbox = now or time.time(), folder(recipe)
    inbox.mkdir(parents=True, exist_ok=True)
    entries = dict[Path, float]()
    for path in inbox.iterdir():
        with suppress(FileNotFoundError):  # whoever put it here took it away again
            if not path.name.startswith("."):
                entries[path] = _changed(path)
    return sorted((path for path, at in entries.items() if abs(now - at) >= _QUIET), key=lambda path: entries[path])


def is_labels(path: Path) -> bool:
    return path.is_file() and path.name.startswith("labels")


def take(path: Path, refusal: str = "") -> None:
    """Moves it aside, with the reason beside it if it was refused. Raises Refusal if that is not possible."""
    target = path.parent / (".refused" if refusal else ".taken")
    moved = target / f"{int(time.time())}-{path.name}"
    try:
        target.mkdir(exist_ok=True)
        path.rename(moved)
    except OSError as error:
        what = f"it cannot be moved aside ({error.strerror})"
        raise Refusal(what, printable(path.name), f"See who may write to {path.parent}") from error
    if refusal:
        replace(moved.with_name(f"{moved.name}.why.txt"), f"{refusal}\n")


def expire(recipe: str, days: float) -> None:
    """Removes what was moved aside longer ago."""
    for path in (path for name in (".taken", ".refused") for path in (folder(recipe) / name).glob("*")):
        if time.time() - path.lstat().st_ctime <= days * 86400:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def printable(text: str) -> str:
    """A text, in which the name of a file may be that is not UTF-8, as UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def _changed(path: Path) -> float:
    return max(each.lstat().st_mtime for each in _all(path))


def _all(path: Path) -> Iterator[Path]:
    yield path
    if path.is_dir() and not path.is_symlink():
        yield from path.rglob("*")
