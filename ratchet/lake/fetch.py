"""Finds a recipe's own data: in the folder of a setting, in a package's folder, or by download, by pinned digest."""

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

_CHANGED = "Restore the old file; ingest new data as a batch of its own: `ratchet ingest RECIPE PATH`"


def fetch_feed(recipe: Recipe, feed: Feed) -> tuple[Path, Path | None]:
    """The files of a feed with inputs and labels, or the one file with both, after their digests were checked.

    Raises Refusal like `fetch`.
    """
    path = fetch(recipe.data, feed.inputs)
    if recipe.data.prepare:
        return _prepared(recipe, path, recipe.data.files[feed.inputs]), None
    return path, fetch(recipe.data, feed.labels) if feed.labels else None


def _prepared(recipe: Recipe, path: Path, digest: str) -> Path:
    """The records that the recipe reads from a file, prepared once for each version of the recipe."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    assert recipe.data.prepare
    prepared = settings().home / "data" / f"{recipe.name}-{recipe.version}-{digest[:16]}.parquet"
    if not prepared.exists():
        prepared.parent.mkdir(parents=True, exist_ok=True)
        part = prepared.with_name(f".{prepared.name}.{os.getpid()}")
        try:
            pq.write_table(pa.Table.from_pylist(list(recipe.data.prepare(path))), part)
        except Exception as error:
            part.unlink(missing_ok=True)
            raise Refusal(f"`prepare` failed on it ({error!r})", path, "Correct the recipe's `prepare`") from error
        os.replace(part, prepared)
    return prepared


def fetch(data: DataSet, name: str) -> Path:
    """The path of the data set's file `name`, after its digest was checked.

    Raises Refusal if the file is nowhere to be found, or its uncompressed bytes are not the pinned ones.
    """
    if folder := os.environ.get(data.variable):
        path = Path(folder).expanduser() / name
        if not path.exists():
            raise Refusal("there is no such file", path, f"Correct {data.variable} or unset it")
        return _checked(path, data.files[name])
    cached = settings().home / "data" / name
    for path in (*(Path(f) / name for f in data.folders), cached):
        if path.exists():
            return _checked(path, data.files[name], "Remove it and try again" if data.url else _CHANGED)
    if not data.url:
        raise Refusal("the data is gone", cached.name, f"Set {data.variable} to a folder that holds it")
    return _download(data, name, cached)


def digest(path: Path) -> str:
    """SHA-256 of a folder, or of a file's uncompressed bytes. Raises Refusal if it cannot be read."""
    if path.is_dir():
        return sha256_of_folder(path)
    digest_ = hashlib.sha256()
    try:
        with path.open("rb") as raw:
            compressed = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path) if compressed else path.open("rb") as file:
            while part := file.read(1 << 20):
                digest_.update(part)
    except (OSError, EOFError) as error:
        raise Refusal(f"the file cannot be read ({error})", path, "Remove it and try again") from error
    return digest_.hexdigest()


def _checked(path: Path, expected: str, again: str = "Remove it and try again") -> Path:
    if (actual := digest(path)) != expected:
        raise Refusal(f"its SHA-256 is {actual[:16]}…, not {expected[:16]}…", path, again)
    return path


def _download(data: DataSet, name: str, path: Path) -> Path:
    import httpx
    from rich.console import Console
    from rich.progress import Progress

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{name}.{os.getpid()}")
    try:
        with (
            # The system's certificates, which may include a company's own.
            httpx.stream(
                "GET", data.url + name, follow_redirects=True, timeout=30, verify=ssl.create_default_context()
            ) as response,
            part.open("wb") as file,
            Progress(console=Console(file=sys.stderr)) as progress,
        ):
            response.raise_for_status()
            bar = progress.add_task(name, total=int(response.headers.get("content-length", 0)) or None)
            size = 0
            for chunk in response.iter_bytes():
                size += len(chunk)
                if size > settings().ingest_disk_mb << 20:
                    limit = f"{settings().ingest_disk_mb} MB"
                    raise Refusal(f"the download exceeds {limit}", data.url + name, "Raise RATCHET_INGEST_DISK_MB")
                file.write(chunk)
                progress.advance(bar, len(chunk))
        _checked(part, data.files[name])
        os.replace(part, path)
    except httpx.HTTPError as error:
        folder = f", or put it into {data.folders[0]}" if data.folders else ""
        next = f"Set {data.variable} to a folder that holds it{folder}"
        raise Refusal(f"the file could not be downloaded ({error})", data.url + name, next) from error
    finally:
        part.unlink(missing_ok=True)
    return path
