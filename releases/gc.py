"""What may be removed: bentos, finished trainings and old logs that nothing needs any more."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ratchet.fleet.host import Host
from ratchet.settings import Settings
from ratchet.words import Package
from releases import machine
from releases.state import State


@dataclass(frozen=True)
class Litter:
    path: Path
    bytes: int


def needed(state: State) -> frozenset[str]:
    """The arms that serve, may serve again without a fetch, or finish what they have. Pure."""
    kept: tuple[Package | None, ...] = (state.champion, state.challenger, state.warm, machine.rollback_target(state))
    return frozenset(p.arm for p in (*kept, *state.draining) if p)


def find(homes: Iterable[Settings], states: Mapping[str, State], before: float) -> list[Litter]:
    """What was last changed before that time and nothing needs. A bento that was removed can be fetched again."""
    found = []
    for home in homes:
        for path in (*_bentos(home, states), *(home.home / "training").glob("*"), *(home.home / "logs").glob("*.1")):
            if not path.is_symlink() and path.stat().st_mtime < before:
                found.append(Litter(path, _size(path)))
    return found


def _bentos(home: Settings, states: Mapping[str, State]) -> Iterator[Path]:
    running = {(a.recipe, a.arm) for a in Host(home).arms()}
    for recipe, state in states.items():
        kept = needed(state) | {arm for name, arm in running if name == recipe}
        for path in (home.home / "bentos" / recipe).glob("v*"):
            if not any(path.name.startswith(f"{arm}-") for arm in kept):
                yield path


def remove(litter: Iterable[Litter]) -> None:
    for each in litter:
        shutil.rmtree(each.path) if each.path.is_dir() else each.path.unlink()


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(f.lstat().st_size for f in files if f.is_file())
