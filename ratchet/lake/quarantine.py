"""Refused records with their reasons, and the moves between quarantine and the admitted records.

Each move makes a new Delta version that records who requested it. It first appends the rows to their
new table and then removes them from the old one, so a kill in between loses nothing and can be repeated.
"""

import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from ratchet.errors import Refusal
from ratchet.lake import table
from ratchet.lake.rows import Rows, Spool

_TIME = pa.timestamp("us", tz="UTC")
_TEXTS = ("batch", "kind", "name", "reason", "record", "input", "who")
_COLUMNS = {**dict.fromkeys(_TEXTS, pa.string()), "payload": pa.binary()}
QUARANTINE = pa.schema({**_COLUMNS, "captured_at": _TIME, "at": _TIME})
"""`kind` is `file` (a whole source), `record` (one of a batch) or `batch` (valid records of a batch that failed).

The records of a `batch` add the columns of their input and of their label, whose types depend on the recipe."""
_OWN = ("kind", "name", "reason", "payload", "who", "at")


@dataclass(frozen=True)
class Entry:
    """The rows in quarantine of one batch with the same reason."""

    batch: str
    kind: str
    rows: int
    reason: str
    who: str
    at: str


def keep_file(home: Path, batch: str, path: Path, reason: str, who: str, limit: int) -> None:
    """Keeps a source that could not be read: a row, and its bytes if it is one file of at most `limit` bytes."""
    copy = home / "refused" / batch
    if path.is_file() and path.stat().st_size <= limit and not copy.exists():
        copy.parent.mkdir(parents=True, exist_ok=True)
        part = copy.with_name(f".{batch}.{os.getpid()}")
        shutil.copyfile(path, part)
        part.replace(copy)
    if not _contains(home, batch, "file"):  # a file that was dropped and ingested again is listed again
        at = datetime.now(UTC)
        row = {"batch": batch, "kind": "file", "name": str(path), "reason": reason, "who": who, "at": at}
        turn = table.turn_of(home / "quarantine", f"file:{batch}") + 1
        rows = pa.Table.from_pylist([row], schema=QUARANTINE)
        table.append(home / "quarantine", rows, once=f"file:{batch}", turn=turn, who=who)


def keep_records(home: Path, batch: str, bad: Spool, who: str, turn: int = 1) -> None:
    """Keeps the refused records of a batch: rows of `encoding.ROWS` with reasons. A later turn replaces an earlier."""
    once = f"records:{batch}"
    if 1 < turn > table.turn_of(home / "quarantine", once):
        table.delete(home / "quarantine", {"batch": batch, "kind": "record"}, who=who, why="it was ingested again")
    if bad.count:
        now = datetime.now(UTC)

        def kept(part: pa.Table) -> pa.Table:
            rows = [
                {"batch": batch, "kind": "record", "name": f"{r['name']} (label {r['label']})", "reason": r["reason"],
                 "payload": r["payload"], "captured_at": r["captured_at"], "who": who, "at": now}
                for r in part.to_pylist()
            ]  # fmt: skip
            return pa.Table.from_pylist(rows, schema=QUARANTINE)

        table.append(home / "quarantine", bad.rows().map(kept), once, turn=turn, who=who)


def pending(home: Path) -> list[str]:
    """Batches that landed and are neither admitted nor refused yet, in the order in which they landed."""
    rows = table.read(home / "landing", ["batch"])
    waiting = set(pc.unique(rows["batch"]).to_pylist()) if rows is not None else set()
    order = [c["ratchet"].removeprefix("land:") for c in reversed(table.history(home / "landing")) if "ratchet" in c]
    return [b for b in order if b in waiting]


def admit_landed(home: Path, batch: str, who: str) -> None:
    """Moves a batch whose suite passed to the records that snapshots are taken from."""
    if rows := _batch(home / "landing", batch):
        _admit(home, batch, rows, who, "its suite passed")
        table.delete(home / "landing", {"batch": batch}, who=who, why="admitted")


def refuse_landed(home: Path, batch: str, reason: str, who: str) -> None:
    """Moves a batch whose suite failed to quarantine as a whole."""
    if rows := _batch(home / "landing", batch):
        _set_aside(home, batch, rows, reason, who)
        table.delete(home / "landing", {"batch": batch}, who=who, why=reason)


def withdraw(home: Path, batch: str, reason: str, who: str) -> tuple[int, bool]:
    """Moves a batch to quarantine, as a new version; old snapshots stay readable.

    The number of its records, and whether they were admitted and a version may be trained on them. Raises Refusal if
    the batch is neither admitted nor waits for its validation.
    """
    rows, waiting = _batch(home / "records", batch), _batch(home / "landing", batch)
    if rows is None and waiting is not None:
        _set_aside(home, batch, waiting, f"withdrawn: {reason}", who)
        return table.delete(home / "landing", {"batch": batch}, who=who, why=reason), False
    if rows is None:
        admitted = ", ".join(_batches(home)) or "none"
        raise Refusal("no such batch is admitted", batch, f"Admitted batches: {admitted}")
    _set_aside(home, batch, rows, f"withdrawn: {reason}", who)
    table.delete(home / "landing", {"batch": batch}, who=who, why=reason)  # left over if its admission was killed
    return table.delete(home / "records", {"batch": batch}, who=who, why=reason), True


def _batches(home: Path) -> list[str]:
    rows = table.read(home / "records", ["batch"])
    return [] if rows is None else pc.unique(rows["batch"]).to_pylist()


def admit(home: Path, batch: str, who: str, reason: str) -> int:
    """Moves a batch whose suite failed to the records after all, since a person overrules the suite."""
    rows = _rows(home, batch).filter(pc.field("kind") == "batch")
    if not rows.num_rows:
        what = "no record of this batch can be admitted: they violate the contract or are in the benchmark"
        raise Refusal(what, batch, "Correct the source and ingest it again")
    _admit(home, batch, rows.select([n for n in rows.column_names if n not in _OWN]), who, reason)
    table.delete(home / "quarantine", {"batch": batch, "kind": "batch"}, who=who, why=f"admitted: {reason}")
    return rows.num_rows


def drop(home: Path, batch: str, who: str, reason: str) -> int:
    """Removes a batch from quarantine; older versions of the table still hold it."""
    _rows(home, batch)
    return table.delete(home / "quarantine", {"batch": batch}, who=who, why=f"dropped: {reason}")


def entries(home: Path) -> list[Entry]:
    rows = table.read(home / "quarantine", ["batch", "kind", "reason", "who", "at"])
    if rows is None:
        return []
    entries_: dict[tuple[str, str, str], Entry] = {}
    for row in rows.to_pylist():
        key = (row["batch"], row["kind"], row["reason"])
        count = entries_[key].rows if key in entries_ else 0
        at = row["at"].isoformat(timespec="seconds")
        entries_[key] = Entry(row["batch"], row["kind"], count + 1, row["reason"], row["who"], at)
    return sorted(entries_.values(), key=lambda e: e.at)


def show(home: Path, batch: str) -> list[dict[str, object]]:
    """The rows of one batch, without their bytes."""
    columns = ["kind", "name", "reason", "record", "label", "who", "at"]
    rows = _rows(home, batch)
    rows = rows.select([column for column in columns if column in rows.column_names])
    return [{name: str(cell) for name, cell in row.items() if cell is not None} for row in rows.to_pylist()]


def _rows(home: Path, batch: str) -> pa.Table:
    rows = table.read(home / "quarantine", where=("batch", batch))
    if rows is None or not rows.num_rows:
        raise Refusal("no such batch is in quarantine", batch, "See `ratchet quarantine list`")
    return rows


def _batch(path: Path, batch: str) -> Rows | None:
    """The rows of a batch; None if the table has none."""
    present = table.read(path, ["batch"], where=("batch", batch))
    return table.rows(path, where=("batch", batch)) if present is not None and present.num_rows else None


def _admit(home: Path, batch: str, rows: pa.Table | Rows, who: str, why: str) -> None:
    if _batch(home / "records", batch) is None:
        turn = table.turn_of(home / "records", f"admit:{batch}") + 1
        table.append(home / "records", rows, once=f"admit:{batch}", turn=turn, who=who, why=why)


def _contains(home: Path, batch: str, kind: str) -> bool:
    rows = table.read(home / "quarantine", ["kind"], where=("batch", batch))
    return rows is not None and kind in rows["kind"].to_pylist()


def _set_aside(home: Path, batch: str, rows: Rows, reason: str, who: str) -> None:
    if not _contains(home, batch, "batch"):
        now, schema = datetime.now(UTC), pa.unify_schemas([QUARANTINE, rows.schema])

        def kept(part: pa.Table) -> pa.Table:
            own = [{**row, "kind": "batch", "reason": reason, "who": who, "at": now} for row in part.to_pylist()]
            return pa.Table.from_pylist(own, schema=schema)

        turn = table.turn_of(home / "quarantine", f"batch:{batch}") + 1
        table.append(home / "quarantine", rows.map(kept), once=f"batch:{batch}", turn=turn, who=who)
