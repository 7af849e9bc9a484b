"""The packages of one host: fetched once, checked against their digest and unpacked; one of them is `current`."""

import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ratchet.errors import Refusal
from ratchet.files import locked, replace_link, sha256
from ratchet.settings import Settings
from ratchet.types import Package

MAX_BENTO = 2 << 30
"""Limit in bytes for the size of an unpacked bento."""

Fetch = Callable[[Package, Path], None]
"""Writes a package's `.bento` to a path."""

MODEL = Path("src", "model")
"""The folder below an unpacked bento that holds the model, its card and its golden set."""


def lock_of(path: Path) -> Path:
    """What a process that uses a package holds; `path` is that of the unpacked bento or of the packed one."""
    return path.parent / ".locks" / path.stem


@dataclass(frozen=True)
class PackageCache:
    settings: Settings

    def folder(self, package: Package) -> Path:
        """The folder of the unpacked bento. Its name has version and digest, so it never changes its meaning."""
        return self.settings.home / "bentos" / package.recipe / f"{package.revision}-{package.digest[:12]}"

    def packed(self, package: Package) -> Path:
        """The file of the packed bento."""
        return self.folder(package).with_suffix(".bento")

    def has(self, package: Package) -> bool:
        """Whether the packed bento is here, with the bytes of its digest."""
        packed = self.packed(package)
        return packed.exists() and sha256(packed) == package.digest

    def unpack(self, package: Package, fetch: Fetch) -> Path:
        """The folder of the unpacked bento, which is fetched if it is not here yet.

        Raises Refusal if the bytes do not have the digest, or the archive holds anything but files and folders.
        """
        folder = self.folder(package)
        packed = self.packed(package)
        with locked(lock_of(folder), shared=True), locked(folder.parent / ".lock"):
            if packed.exists() and not self.has(package):
                packed.unlink()
                shutil.rmtree(folder, ignore_errors=True)
            if not packed.exists():
                part = packed.with_suffix(".part")
                fetch(package, part)
                digest = sha256(part)
                if digest != package.digest:
                    part.unlink()
                    what = f"its SHA-256 is {digest[:16]}…, not {package.digest[:16]}…"
                    raise Refusal(what, package.tag, "The package was changed in transit; build and release it again")
                part.replace(packed)
            if not (folder / "bento.yaml").exists():
                _extract(packed, folder)
            self._allow_relative_paths(folder)
        return folder

    @contextmanager
    def using(self, package: Package, fetch: Fetch) -> Iterator[Path]:
        """What `unpack` returns; `ratchet gc` removes nothing of it meanwhile."""
        with locked(lock_of(self.folder(package)), shared=True):
            yield self.unpack(package, fetch)

    def changed(self, package: Package) -> list[str]:
        """Files of the unpacked bento that are missing or no longer have the bytes of the package."""
        folder, names = self.folder(package), []
        with tarfile.open(folder.with_suffix(".bento")) as archive:
            for member in archive:
                if member.isfile() and (opened := archive.extractfile(member)):
                    path = folder / member.name
                    if not path.is_file() or path.read_bytes() != opened.read():
                        names.append(str(Path(member.name)))
        return names

    def _allow_relative_paths(self, folder: Path) -> None:
        """Makes `bentoml serve .ratchet/bentos/<recipe>/current` work from the folder of the home.

        BentoML 1.4 resolves a relative path below the bento itself, so a link there points back to it.
        """
        link = folder / self.settings.home.name / "bentos" / folder.parent.name / "current"
        if not link.is_symlink():
            link.parent.mkdir(parents=True, exist_ok=True)
            replace_link(link, os.path.relpath(folder, link.parent))

    def point_current(self, package: Package) -> None:
        """Points `bentos/<recipe>/current`, which `bentoml serve` accepts, to the champion's package."""
        folder = self.folder(package)
        link = folder.parent / "current"
        if folder.exists() and not (link.is_symlink() and link.readlink() == Path(folder.name)):
            replace_link(link, folder.name)


def _extract_one(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """A file or a folder below `folder`, and nothing else. (`filter="data"` is missing in Python 3.11.2.)"""
    path = folder / member.name
    if os.path.isabs(member.name) or ".." in Path(member.name).parts or not (member.isfile() or member.isdir()):
        raise Refusal("the bento holds something that is not a file or folder inside it", member.name, "Build it again")
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
        raise Refusal(f"the bento cannot be unpacked ({error})", packed, "Build and release it again") from error
    part.replace(folder)
