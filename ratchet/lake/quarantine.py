"""What was refused, with its reason; and the moves between quarantine and the admitted records.

Each move makes a new Delta version that says who asked. It first appends where the rows go and
then removes them where they were, so that a kill in between loses nothing and can be repeated.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from ratchet.errors import Refusal
from ratchet.lake import table

QUARANTINE = pa.schema(
    [
        ("batch", pa.string()),
        ("kind", pa.string()),
        ("name", pa.string()),
        ("reason", pa.string()),
        ("record", pa.string()),
        ("input", pa.string()),
        ("label", pa.int32()),
        ("captured_at", pa.timestamp("us", tz="UTC")),
        ("payload", pa.binary()),
        ("who", pa.string()),
        ("at", pa.timestamp("us", tz="UTC")),
    ]
)
"""`kind` is `file` (the whole source), `record` (one of a batch) or `batch` (good records of a batch set aside).

The records set aside bring the column of their input, by its kind."""
_OWN = ("kind", "name", "reason", "payload", "who", "at")


@dataclass(frozen=True)
class Entry:
    """What stands in quarantine of one batch."""

    batch: str
    kind: str
    rows: int
    reason: str
    who: str
    at: str


def keep_file(home: Path, batch: str, path: Path, reason: str, who: str, limit: int) -> None:
    """Keeps a source that could not be read: its row, and its bytes where it is one file of at most `limit`."""
    kept = home / "refused" / batch
    if path.is_file() and path.stat().st_size <= limit and not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = kept.with_name(f".{batch}.{os.getpid()}")
        shutil.copyfile(path, part)
        part.replace(kept)
    if not _held(home, batch, "file"):  # dropped and ingested again, it is listed again
        row = {"batch": batch, "kind": "file", "name": str(path), "reason": reason, "who": who, "at": datetime.now(UTC)}
        turn = table.turn_of(home / "quarantine", f"file:{batch}") + 1
        rows = pa.Table.from_pylist([row], schema=QUARANTINE)
        table.append(home / "quarantine", rows, once=f"file:{batch}", turn=turn, who=who)


def keep_records(home: Path, batch: str, bad: pa.Table, who: str) -> None:
    """Keeps the refused records of a batch, as `sources.ROWS` with reasons."""
    if bad.num_rows:
        now = datetime.now(UTC)
        rows = [
            {"batch": batch, "kind": "record", "name": f"{r['name']} (label {r['label']})", "reason": r["reason"],
             "payload": r["payload"], "captured_at": r["captured_at"], "who": who, "at": now}
            for r in bad.to_pylist()
        ]  # fmt: skip
        table.append(
            home / "quarantine", pa.Table.from_pylist(rows, schema=QUARANTINE), once=f"records:{batch}", who=who
        )


def pending(home: Path) -> list[str]:
    """Batches that landed and were neither admitted nor refused, in the order they came."""
    rows = table.read(home / "landing", ["batch"])
    waiting = set(rows["batch"].to_pylist()) if rows is not None else set()
    order = [c["ratchet"].removeprefix("land:") for c in reversed(table.history(home / "landing")) if "ratchet" in c]
    return [b for b in order if b in waiting]


def admit_landed(home: Path, batch: str, who: str) -> None:
    """A batch whose suite passed joins the records that snapshots are taken from."""
    rows = table.read(home / "landing", where=("batch", batch))
    if rows is not None and rows.num_rows:
        _admit(home, batch, rows, who, "its suite passed")
        table.delete(home / "landing", {"batch": batch}, who=who, why="admitted")


def refuse_landed(home: Path, batch: str, reason: str, who: str) -> None:
    """A batch whose suite failed goes to quarantine whole."""
    rows = table.read(home / "landing", where=("batch", batch))
    if rows is not None and rows.num_rows:
        _set_aside(home, batch, rows, reason, who)
        table.delete(home / "landing", {"batch": batch}, who=who, why=reason)


def withdraw(home: Path, batch: str, reason: str, who: str) -> int:
    """Takes an admitted batch out of the records, into quarantine: a new version; old snapshots stay readable."""
    rows = table.read(home / "records", where=("batch", batch))
    if rows is None or not rows.num_rows:
        admitted = ", ".join(_batches(home)) or "none"
        raise Refusal("no such batch is admitted", batch, f"Admitted are: {admitted}")
    _set_aside(home, batch, rows, f"withdrawn: {reason}", who)
    table.delete(home / "landing", {"batch": batch}, who=who, why=reason)  # left by a kill while it was admitted
    return table.delete(home / "records", {"batch": batch}, who=who, why=reason)


def _batches(home: Path) -> list[str]:
    rows = table.read(home / "records", ["batch"])
    return [] if rows is None else pc.unique(rows["batch"]).to_pylist()


def admit(home: Path, batch: str, who: str, reason: str) -> int:
    """A person overrules the suite: a batch set aside joins the records after all."""
    rows = _rows(home, batch).filter(pc.field("kind") == "batch")
    if not rows.num_rows:
        raise Refusal(
            "nothing of this batch can be admitted: its entries broke the contract or are benchmark images",
            batch,
            "Mend the source and ingest it anew",
        )
    _admit(home, batch, rows.select([n for n in rows.column_names if n not in _OWN]), who, reason)
    table.delete(home / "quarantine", {"batch": batch, "kind": "batch"}, who=who, why=f"admitted: {reason}")
    return rows.num_rows


def drop(home: Path, batch: str, who: str, reason: str) -> int:
    """Takes a batch off the list for good; older versions of the table still hold it."""
    _rows(home, batch)
    return table.delete(home / "quarantine", {"batch": batch}, who=who, why=f"dropped: {reason}")


def entries(home: Path) -> list[Entry]:
    rows = table.read(home / "quarantine", ["batch", "kind", "reason", "who", "at"])
    if rows is None:
        return []
    found: dict[tuple[str, str, str], Entry] = {}
    for row in rows.to_pylist():
        key = (row["batch"], row["kind"], row["reason"])
        count = found[key].rows if key in found else 0
        at = row["at"].isoformat(timespec="seconds")
        found[key] = Entry(row["batch"], row["kind"], count + 1, row["reason"], row["who"], at)
    return sorted(found.values(), key=lambda e: e.at)


def show(home: Path, batch: str) -> list[dict[str, object]]:
    """The rows of one batch, without their bytes."""
    columns = ["kind", "name", "reason", "record", "label", "who", "at"]
    return [{k: str(r[k]) for k in columns if r[k] is not None} for r in _rows(home, batch).select(columns).to_pylist()]


def _rows(home: Path, batch: str) -> pa.Table:
    rows = table.read(home / "quarantine", where=("batch", batch))
    if rows is None or not rows.num_rows:
        raise Refusal("no such batch is in quarantine", batch, "See `ratchet quarantine list`")
    return rows


def _admit(home: Path, batch: str, rows: pa.Table, who: str, why: str) -> None:
    present = table.read(home / "records", ["batch"], where=("batch", batch))
    if present is None or not present.num_rows:
        turn = table.turn_of(home / "records", f"admit:{batch}") + 1
        table.append(home / "records", rows, once=f"admit:{batch}", turn=turn, who=who, why=why)


def _held(home: Path, batch: str, kind: str) -> bool:
    rows = table.read(home / "quarantine", ["kind"], where=("batch", batch))
    return rows is not None and kind in rows["kind"].to_pylist()


def _set_aside(home: Path, batch: str, rows: pa.Table, reason: str, who: str) -> None:
    if not _held(home, batch, "batch"):
        now = datetime.now(UTC)
        kept = [{**r, "kind": "batch", "reason": reason, "who": who, "at": now} for r in rows.to_pylist()]
        turn = table.turn_of(home / "quarantine", f"batch:{batch}") + 1
        made = pa.Table.from_pylist(kept, schema=pa.unify_schemas([QUARANTINE, rows.schema]))
        table.append(home / "quarantine", made, once=f"batch:{batch}", turn=turn, who=who)


def ever_landed(home: Path) -> bool:
    """Whether any batch ever landed, whatever became of it."""
    return any(str(c.get("ratchet", "")).startswith("land:") for c in table.history(home / "landing"))
