"""Looks for bytes in files, also in those that are compressed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq


def holds(path: Path, needles: tuple[bytes, ...]) -> bool:
    """Whether a file holds any of the bytes; of a Parquet file, whether a cell does."""
    parts = _cells(pq.read_table(path).to_pylist()) if path.suffix == ".parquet" else iter([path.read_bytes()])
    return any(needle in part for part in parts for needle in needles)


def _cells(value: Any) -> Iterator[bytes]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _cells(each)
    elif isinstance(value, bytes):
        yield value
    elif value is not None:
        yield str(value).encode()
