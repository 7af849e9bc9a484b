"""The only file that speaks Delta Lake. Tables are appended in transactions that happen once."""

from __future__ import annotations

import random
import time
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from ratchet.errors import Refusal

_TRIES = 40
_KEEP = {"delta.enableExpiredLogCleanup": "false", "delta.logRetentionDuration": "interval 36500 days"}
"""Delta drops commits after 30 days by default, and with them the versions that snapshots name."""


def append(path: Path, rows: pa.Table, once: str, turn: int = 1, **meta: str) -> bool:
    """Appends `rows` in one commit, once per (`once`, `turn`) whoever else tries; False if done before.

    `meta` (who, why, ...) is kept in the table's history. Raises Refusal when the table stays contended.
    """
    from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
    from deltalake.exceptions import DeltaError

    path.mkdir(parents=True, exist_ok=True)
    # No retries inside: the commit must follow the very version that was looked at.
    commit = CommitProperties(
        custom_metadata={"ratchet": once, **meta},
        max_commit_retries=0,
        app_transactions=[Transaction(once, turn, int(time.time() * 1000))],
    )
    last: Exception | None = None
    for attempt in range(_TRIES):
        try:
            if not exists(path):
                DeltaTable.create(str(path), rows.schema, mode="ignore", configuration=_KEEP)
            seen = DeltaTable(str(path))
            if (seen.transaction_version(once) or 0) >= turn:
                return False
            write_deltalake(seen, rows, mode="append", schema_mode="merge", commit_properties=commit)
            return True
        except (DeltaError, OSError) as error:
            last = error
            time.sleep(random.uniform(0.01, 0.05) * min(attempt + 1, 10))
    raise Refusal(f"the table could not be written ({last})", path, "Try again; see that the disk can be written")


def delete(path: Path, where: Mapping[str, str], **meta: str) -> int:
    """Removes the rows where every column has its value, as a new version; the old one stays readable."""
    from deltalake import CommitProperties, DeltaTable
    from deltalake.exceptions import DeltaError

    if not exists(path):
        return 0
    condition = " AND ".join(f"{column} = '{value.replace(chr(39), chr(39) * 2)}'" for column, value in where.items())
    for attempt in range(_TRIES):
        try:
            done = DeltaTable(str(path)).delete(condition, commit_properties=CommitProperties(custom_metadata=meta))
            return int(done["num_deleted_rows"])
        except DeltaError as error:
            last = error
            time.sleep(random.uniform(0.01, 0.05) * min(attempt + 1, 10))
    raise Refusal(f"the table could not be written ({last})", path, "Try again when fewer write to it")


def exists(path: Path) -> bool:
    return any((path / "_delta_log").glob("*.json"))


def version(path: Path) -> int:
    """The newest version; -1 where there is no table yet."""
    from deltalake import DeltaTable

    return DeltaTable(str(path)).version() if exists(path) else -1


def turn_of(path: Path, once: str) -> int:
    """The highest turn committed under `once`; 0 if none."""
    from deltalake import DeltaTable

    return (DeltaTable(str(path)).transaction_version(once) or 0) if exists(path) else 0


def read(
    path: Path, columns: list[str] | None = None, where: tuple[str, str] | None = None, version: int | None = None
) -> pa.Table | None:
    """The rows (of one version; where a column has a value), or None where there is no table.

    File by file and without threads: the scanner's aborted one process in three that ended soon
    after on a busy machine.
    """
    import pyarrow.compute as pc
    import pyarrow.parquet as pq
    from deltalake import DeltaTable

    if not exists(path):
        return None
    table = DeltaTable(str(path), version=version)
    schema = pa.schema(table.schema().to_arrow())
    wanted = columns or schema.names
    parts = []
    for file in table.file_uris():
        try:
            with pq.ParquetFile(urllib.parse.unquote(file), pre_buffer=False) as opened:
                there = set(opened.schema_arrow.names)  # a file from before a column was added has none of it
                names = dict.fromkeys([*wanted, *([where[0]] if where else [])])
                part = opened.read([n for n in names if n in there], use_threads=False)
        except (pa.ArrowInvalid, OSError) as error:
            told = str(error).splitlines()[0][:120]
            raise Refusal(f"a file of the table cannot be read ({told})", file, "Restore it from a copy") from error
        parts.append(part.filter(pc.field(where[0]) == where[1]) if where else part)
    target = pa.schema([schema.field(name) for name in wanted])
    return pa.concat_tables([_cast(p, target) for p in parts]) if parts else target.empty_table()


def _cast(part: pa.Table, target: pa.Schema) -> pa.Table:
    nothing = {f.name: pa.nulls(part.num_rows, f.type) for f in target if f.name not in part.column_names}
    return pa.table({f.name: nothing[f.name] if f.name in nothing else part[f.name] for f in target}).cast(target)


def history(path: Path) -> list[dict[str, Any]]:
    """The commits, newest first, with who and why."""
    from deltalake import DeltaTable

    return DeltaTable(str(path)).history() if exists(path) else []
