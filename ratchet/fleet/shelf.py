"""The unpacked bentos of one host: fetched once, their digest checked, one of them `current`."""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ratchet.errors import Refusal
from ratchet.files import locked, replace_link, sha256
from ratchet.settings import Settings
from ratchet.words import Package

MAX_BENTO = 2 << 30
"""Bytes that a bento may unpack to."""

Fetch = Callable[[Package, Path], None]
"""Writes a package's `.bento` to a path."""


@dataclass(frozen=True)
class Shelf:
    settings: Settings

    def folder(self, package: Package) -> Path:
        """Where the unpacked bento lies; named by version and digest, so it never means two things."""
        return self.settings.home / "bentos" / package.recipe / f"{package.arm}-{package.digest[:12]}"

    def unpack(self, package: Package, fetch: Fetch) -> Path:
        """The unpacked bento, fetched where it is not here yet, its digest checked.

        Raises Refusal when the bytes are not those of the digest, or unpack to anything but files.
        """
        folder = self.folder(package)
        packed = folder.with_suffix(".bento")
        with locked(folder.parent / ".lock"):
            if packed.exists() and sha256(packed) != package.digest:
                packed.unlink()
                shutil.rmtree(folder, ignore_errors=True)
            if not packed.exists():
                part = packed.with_suffix(".part")
                fetch(package, part)
                if (got := sha256(part)) != package.digest:
                    part.unlink()
                    raise Refusal(
                        f"its SHA-256 is {got[:16]}…, not {package.digest[:16]}…",
                        package.tag,
                        "The package was changed on its way; build and release it anew",
                    )
                part.replace(packed)
            if not (folder / "bento.yaml").exists():
                _extract(packed, folder)
            self._answer_to_relative(folder)
        return folder

    def changed(self, package: Package) -> list[str]:
        """Files of the unpacked bento whose bytes are no longer those of the package, or that are gone."""
        folder, found = self.folder(package), []
        with tarfile.open(folder.with_suffix(".bento")) as archive:
            for member in archive:
                if member.isfile() and (opened := archive.extractfile(member)):
                    path = folder / member.name
                    if not path.is_file() or path.read_bytes() != opened.read():
                        found.append(str(Path(member.name)))
        return found

    def _answer_to_relative(self, folder: Path) -> None:
        """`bentoml serve .ratchet/bentos/<recipe>/current` works, from where the home lies.

        BentoML (1.4) looks for a relative path below itself, so there must be something.
        """
        itself = folder / self.settings.home.name / "bentos" / folder.parent.name / "current"
        if not itself.is_symlink():
            itself.parent.mkdir(parents=True, exist_ok=True)
            replace_link(itself, os.path.relpath(folder, itself.parent))

    def point_current(self, package: Package) -> None:
        """`bentos/<recipe>/current` is what `bentoml serve` takes; it follows the champion."""
        folder = self.folder(package)
        link = folder.parent / "current"
        if folder.exists() and not (link.is_symlink() and link.readlink() == Path(folder.name)):
            replace_link(link, folder.name)


def _extract_one(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """A file or a folder below `folder`, and nothing else. (`filter="data"` is not in Python 3.11.2.)"""
    path = folder / member.name
    if os.path.isabs(member.name) or ".." in Path(member.name).parts or not (member.isfile() or member.isdir()):
        raise Refusal("the bento holds what is neither a file nor a folder of it", member.name, "Build it anew")
    (path if member.isdir() else path.parent).mkdir(parents=True, exist_ok=True)
    if member.isfile() and (opened := archive.extractfile(member)):
        with opened, path.open("wb") as file:
            shutil.copyfileobj(opened, file)


def _extract(packed: Path, folder: Path) -> None:
    part = folder.with_name(f".{folder.name}")
    shutil.rmtree(part, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        with tarfile.open(packed) as archive:
            size = 0
            for member in archive:
                size += member.size
                if size > MAX_BENTO:
                    raise Refusal(f"it unpacks to more than {MAX_BENTO >> 20} MB", packed, "Build a smaller one")
                _extract_one(archive, member, part)
    except (tarfile.TarError, OSError) as error:
        raise Refusal(f"the bento cannot be unpacked ({error})", packed, "Build and release it anew") from error
    part.replace(folder)
