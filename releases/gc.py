"""What may be removed: bentos, finished trainings and old logs that nothing needs any more."""

import math
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from ratchet.files import locked
from ratchet.fleet.host import Host
from ratchet.fleet.package_cache import lock_of
from ratchet.settings import Settings
from releases import machine
from releases.state import State


@dataclass(frozen=True)
class Garbage:
    path: Path
    bytes: int
    lock: Path | None = None
    """What a process that uses it holds."""


def needed(state: State) -> frozenset[str]:
    """The revisions that serve, may serve again without a fetch, or finish their requests. Pure."""
    serving = (state.champion, state.challenger, state.warm, machine.rollback_target(state))
    return frozenset(package.revision for package in (*serving, *state.draining) if package)


def find(homes: Iterable[Settings], states: Mapping[str, State], before: float) -> list[Garbage]:
    """What was last changed before that time and is not needed. A removed bento can be fetched again."""
    garbage = []
    for config in homes:
        home = config.home
        trainings = {path: home / "training" / ".locks" / path.name for path in (home / "training").glob("[!.]*")}
        bentos = {path: lock_of(path) for path in _bentos(config, states)}
        locks: dict[Path, Path | None] = {**bentos, **trainings, **dict.fromkeys((home / "logs").glob("*.1"))}
        for path, lock in locks.items():
            if not path.is_symlink() and _changed_at(path) < before and _is_free(lock):
                garbage.append(Garbage(path, _size(path), lock))
    return garbage


def _changed_at(path: Path) -> float:
    return path.stat().st_mtime if path.exists() else math.inf  # it may go at any moment


def _is_free(lock: Path | None) -> bool:
    if lock is None:
        return True
    with locked(lock, wait=False) as free:
        return free


def _bentos(config: Settings, states: Mapping[str, State]) -> Iterator[Path]:
    running = {(endpoint.recipe, endpoint.revision) for endpoint in Host(config).endpoints()}
    for recipe, state in states.items():
        kept = needed(state) | {revision for name, revision in running if name == recipe}
        for path in (config.home / "bentos" / recipe).glob("v*"):
            if not any(path.name.startswith(f"{revision}-") for revision in kept):
                yield path


def remove(garbage: Iterable[Garbage]) -> None:
    """Removes it; what a process uses meanwhile is left."""
    for each in garbage:
        with locked(each.lock, wait=False) if each.lock else nullcontext(True) as free:
            if free:
                if each.path.is_dir():
                    shutil.rmtree(each.path, ignore_errors=True)
                else:
                    each.path.unlink(missing_ok=True)


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if file.is_file())
