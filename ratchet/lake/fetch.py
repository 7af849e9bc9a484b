"""Where a recipe's own data is: a folder by a setting, a package's folder, or a download with a pinned digest."""

from __future__ import annotations

import gzip
import hashlib
import os
import ssl
import sys
from pathlib import Path

from ratchet.errors import Refusal
from ratchet.files import sha256_of_folder
from ratchet.recipe import DataSet, Feed, Recipe
from ratchet.settings import settings

_CHANGED = "Bring back what was there; what is new is a batch of its own: `ratchet ingest RECIPE PATH`"


def feed(recipe: Recipe, feed: Feed) -> tuple[Path, Path | None]:
    """The files of a feed, inputs and labels, digests checked; one that holds both stands alone.

    Raises Refusal like `fetch`.
    """
    path = fetch(recipe.data, feed.inputs)
    if recipe.data.prepare:
        return _prepared(recipe, path, recipe.data.files[feed.inputs]), None
    return path, fetch(recipe.data, feed.labels) if feed.labels else None


def _prepared(recipe: Recipe, path: Path, digest: str) -> Path:
    """The records that the recipe makes of a file, made once for each version of the recipe."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    assert recipe.data.prepare
    made = settings().home / "data" / f"{recipe.name}-{recipe.version}-{digest[:16]}.parquet"
    if not made.exists():
        made.parent.mkdir(parents=True, exist_ok=True)
        part = made.with_name(f".{made.name}.{os.getpid()}")
        try:
            pq.write_table(pa.Table.from_pylist(list(recipe.data.prepare(path))), part)
        except Exception as error:
            part.unlink(missing_ok=True)
            raise Refusal(f"no records could be made of it ({error!r})", path, "Mend the recipe's `prepare`") from error
        os.replace(part, made)
    return made


def fetch(data: DataSet, name: str) -> Path:
    """The path of the data set's file `name`, its digest checked.

    Raises Refusal when it is nowhere, or its uncompressed bytes are not the pinned ones.
    """
    if folder := os.environ.get(data.variable):
        path = Path(folder).expanduser() / name
        if not path.exists():
            raise Refusal("the file is not there", path, f"Mend {data.variable} or unset it")
        return _checked(path, data.files[name])
    cached = settings().home / "data" / name
    for path in (*(Path(f) / name for f in data.folders), cached):
        if path.exists():
            return _checked(path, data.files[name], "Remove it and try again" if data.url else _CHANGED)
    if not data.url:
        raise Refusal("the data is not there any more", cached.name, f"Set {data.variable} to a folder that holds it")
    return _download(data, name, cached)


def digest(path: Path) -> str:
    """SHA-256 of a folder, or of a file's uncompressed bytes. Raises Refusal where it cannot be read."""
    if path.is_dir():
        return sha256_of_folder(path)
    found = hashlib.sha256()
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as file:
            while part := file.read(1 << 20):
                found.update(part)
    except (OSError, EOFError) as error:
        raise Refusal(f"the file cannot be read ({error})", path, "Remove it and try again") from error
    return found.hexdigest()


def _checked(path: Path, want: str, again: str = "Remove it and try again") -> Path:
    if (found := digest(path)) != want:
        raise Refusal(f"its SHA-256 is {found[:16]}…, not {want[:16]}…", path, again)
    return path


def _download(data: DataSet, name: str, path: Path) -> Path:
    import httpx
    from rich.console import Console
    from rich.progress import Progress

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{name}.{os.getpid()}")
    try:
        with (
            # By the system's certificates: a company's own are among those.
            httpx.stream(
                "GET", data.url + name, follow_redirects=True, timeout=30, verify=ssl.create_default_context()
            ) as answer,
            part.open("wb") as file,
            Progress(console=Console(file=sys.stderr)) as progress,
        ):
            answer.raise_for_status()
            bar = progress.add_task(name, total=int(answer.headers.get("content-length", 0)) or None)
            size = 0
            for chunk in answer.iter_bytes():
                size += len(chunk)
                if size > settings().ingest_disk_mb << 20:
                    raise Refusal("the download is larger than it may be", data.url + name, "Mend the recipe")
                file.write(chunk)
                progress.advance(bar, len(chunk))
        _checked(part, data.files[name])
        os.replace(part, path)
    except httpx.HTTPError as error:
        raise Refusal(
            f"the file is neither here nor to be had ({error})",
            data.url + name,
            f"Set {data.variable} to a folder that holds it"
            + (f", or put it into {data.folders[0]}" if data.folders else ""),
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return path
