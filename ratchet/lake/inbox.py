"""Takes what is put into a recipe's inbox, a folder of the home: batches, and files of labels named `labels…`.

A file or folder is taken when nothing of it has changed for a while, and is moved into `.taken` or `.refused` beside
it. Killed in between, it is taken again, which lands nothing twice.
"""

import time
from collections.abc import Iterator
from pathlib import Path

from ratchet.files import replace
from ratchet.settings import settings

_QUIET = 10.0
"""Seconds without a change after which whoever writes it has finished."""


def folder(recipe: str) -> Path:
    return settings().home / "inbox" / recipe


def waiting(recipe: str, now: float | None = None) -> list[Path]:
    """What is complete, oldest first; names that begin with a dot are left alone."""
    now, inbox = now or time.time(), folder(recipe)
    inbox.mkdir(parents=True, exist_ok=True)
    entries = {path: _changed(path) for path in inbox.iterdir() if not path.name.startswith(".")}
    return sorted((path for path, at in entries.items() if abs(now - at) >= _QUIET), key=lambda path: entries[path])


def is_labels(path: Path) -> bool:
    return path.is_file() and path.name.startswith("labels")


def take(path: Path, refusal: str = "") -> None:
    """Moves it aside, with the reason beside it if it was refused."""
    target = path.parent / (".refused" if refusal else ".taken")
    target.mkdir(exist_ok=True)
    moved = target / f"{int(time.time())}-{path.name}"
    path.rename(moved)
    if refusal:
        replace(moved.with_name(f"{moved.name}.why.txt"), refusal)


def _changed(path: Path) -> float:
    return max(each.stat().st_mtime for each in _all(path))


def _all(path: Path) -> Iterator[Path]:
    yield path
    if path.is_dir():
        yield from path.rglob("*")
