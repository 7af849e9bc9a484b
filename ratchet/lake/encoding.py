"""Encodes the records of a source by the contract, into rows that ingest checks."""

import time
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ratchet.contract import Contract
from ratchet.errors import Refusal
from ratchet.lake.formats import Record

_TEXTS = dict.fromkeys(("name", "label", "group", "reason", "note", "digest"), pa.string())
ROWS = pa.schema({**_TEXTS, "data": pa.binary(), "captured_at": pa.timestamp("us", tz="UTC"), "payload": pa.binary()})
"""`data` is the input as the contract encodes it, and `digest` its digest, or null: then ingest computes it.
`reason` is why a record is refused, `payload` what came in, and `note` what the contract takes away from it.
"""

_PAYLOAD_LIMIT = 1 << 20
_ROWS, _BYTES, _SECONDS = 4096, 16 << 20, 20
"""Of rows that are written together: fewer if they are large or slow to read."""


@dataclass(frozen=True)
class Part:
    """Which records of a source are read, as `Feed` says."""

    start: int = 0
    stop: int | None = None
    every: int = 0

    def is_over(self, place: int) -> bool:
        """Whether neither the record at this place nor any later one belongs to it."""
        return self.stop is not None and place >= self.stop

    def has(self, place: int) -> bool:
        """Whether the record at this place belongs to it. `every` counts from `start`."""
        if place < self.start or self.is_over(place):
            return False
        return not self.every or ((place - self.start) % abs(self.every) == 0) == (self.every > 0)


ALL = Part()


def encode(records: Iterable[Record], contract: Contract, part: Part = ALL) -> Iterator[pa.Table]:
    """A part of the records as `ROWS`, some thousands at a time."""
    rows: list[dict[str, Any]] = []
    size, started = 0, time.monotonic()
    for record in _of_part(records, part):
        rows.append(encode_record(record, contract))
        size += len(rows[-1]["data"] or b"") + len(rows[-1]["payload"] or b"")
        if len(rows) == _ROWS or size > _BYTES or time.monotonic() - started > _SECONDS:
            yield pa.Table.from_pylist(rows, schema=ROWS)
            rows, size, started = [], 0, time.monotonic()
    if rows:
        yield pa.Table.from_pylist(rows, schema=ROWS)


def _of_part(records: Iterable[Record], part: Part) -> Iterator[Record]:
    for place, record in enumerate(records):
        if part.has(place):
            yield record
        if part.is_over(place + 1):
            return


def merge(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The rows of tables, with small ones put together, so that each has some thousands of rows or megabytes."""
    together, rows, size = list[pa.Table](), 0, 0
    for table in tables:
        together.append(table)
        rows, size = rows + table.num_rows, size + table.nbytes
        if rows >= _ROWS // 2 or size >= _BYTES // 2:
            yield _joined(together)
            together, rows, size = [], 0, 0
    if together:
        yield _joined(together)


def _joined(tables: list[pa.Table]) -> pa.Table:
    return tables[0] if len(tables) == 1 else pa.concat_tables(tables).combine_chunks()


def encode_record(record: Record, contract: Contract) -> dict[str, Any]:
    """A record as `ROWS` has it; one that violates the contract becomes a row with the reason."""
    problem, data = record.problem, None
    if problem is None:
        try:
            if record.value is None:
                raise Refusal(f"the record has no {contract.column}", record.name, f"Give {contract.describe()}")
            data = contract.encode(record.value, record.name)
        except Refusal as refusal:
            problem = refusal
    own = {"name": record.name, "captured_at": record.captured_at, "group": record.group}
    payload = _payload(record.value)[:_PAYLOAD_LIMIT] if problem else None
    note = None if problem else contract.note(record.value) or None
    texts = {"label": label_of(record.label), "reason": problem.what if problem else None, "note": note, "digest": None}
    return {**own, **texts, "data": data, "payload": payload}


def label_of(text: str | None) -> str | None:
    """A label as a source gives it, in Unicode's form NFC; None if it is blank.

    On some systems the name of a folder, which may be a label, has accents as characters of their own.
    """
    return unicodedata.normalize("NFC", text) if text and text.strip() else None


def _payload(value: Any) -> bytes:
    """The value that came in, as bytes."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, np.ndarray | list):
        return np.asarray(value).tobytes()
    return str(value or "").encode("utf-8", "backslashreplace")
