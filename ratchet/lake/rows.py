"""Rows that may be more than fit into memory: they are read part by part, anew each time."""

from __future__ import annotations

import binascii
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

PART, _BYTES = 65_536, 64 << 20
"""Rows of a part, and their bytes, at most; a single row may have more."""


def rows_at_once(metadata: Any) -> int:
    """How many rows of a Parquet file may be read at once, by its metadata."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    largest = max((group.total_byte_size / max(1, group.num_rows) for group in groups), default=1)
    return int(max(1, min(PART, _BYTES / max(1, largest))))


@dataclass(frozen=True)
class Rows:
    """Parts of one schema. Whoever reads them holds one part at a time."""

    schema: pa.Schema
    parts: Callable[[], Iterator[pa.RecordBatch]]

    def to_reader(self) -> pa.RecordBatchReader:
        """As Arrow and Delta Lake take a stream."""
        return pa.RecordBatchReader.from_batches(self.schema, self.parts())

    def map(self, change: Callable[[pa.Table], pa.Table]) -> Rows:
        """The rows with each part changed in the same way."""
        schema = change(self.schema.empty_table()).schema

        def parts() -> Iterator[pa.RecordBatch]:
            for part in self.parts():
                yield from change(pa.Table.from_batches([part])).cast(schema).to_batches()

        return Rows(schema, parts)


class Spool:
    """Writes rows to a file in a scratch folder, and reads them from there."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path, self.schema, self.count = path, schema, 0
        self._file = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_file(self._file, schema)

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the file, which can then be read."""
        if not self._file.closed:
            self._writer.close()
            self._file.close()

    def write(self, rows: pa.Table) -> None:
        if rows.num_rows:
            self._writer.write_table(rows)
            self.count += rows.num_rows

    def rows(self) -> Rows:
        """What was written, once the spool is closed."""

        def parts() -> Iterator[pa.RecordBatch]:
            with pa.OSFile(str(self.path)) as file, pa.ipc.open_file(file) as reader:
                for number in range(reader.num_record_batches):
                    yield reader.get_batch(number)

        return Rows(self.schema, parts)


def digest_bytes(digests: Iterable[pa.Array]) -> np.ndarray:
    """SHA-256 digests in hexadecimal, all present, as an array [N] of 32 bytes each: a sixth of what texts take."""
    parts = [np.frombuffer(binascii.unhexlify(_text(each)), "S32") for each in digests if len(each)]
    return np.concatenate(parts) if parts else np.empty(0, "S32")


def _text(strings: pa.StringArray) -> memoryview:
    """All of them in a row, as they lie in memory. Raises ValueError if one is missing."""
    if strings.null_count:
        raise ValueError(f"{strings.null_count} digests are missing")
    strings = strings.cast(pa.string())
    _, offsets, data = strings.buffers()
    ends = np.frombuffer(offsets, np.int32)[strings.offset : strings.offset + len(strings) + 1]
    return memoryview(data)[ends[0] : ends[-1]]
