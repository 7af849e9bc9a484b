"""The only file that uses Delta Lake. Rows are appended in transactions that happen once."""

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


def append(path: Path, rows: pa.Table, once: str, *, turn: int = 1, **meta: str) -> bool:
    """Appends `rows` in one commit, once per (`once`, `turn`) whoever else tries; False if it was done before.

    `meta` (who, why, ...) is kept in the table's history. Raises Refusal if the table stays contended.
    """
    from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
    from deltalake.exceptions import DeltaError

    path.mkdir(parents=True, exist_ok=True)
    # No retries inside: the commit must follow the version that was read.
    transactions = [Transaction(once, turn, int(time.time() * 1000))]
    commit = CommitProperties(
        custom_metadata={"ratchet": once, **meta}, max_commit_retries=0, app_transactions=transactions
    )
    last: Exception | None = None
    for attempt in range(_TRIES):
        try:
            if not exists(path):
                DeltaTable.create(str(path), rows.schema, mode="ignore", configuration=_KEEP)
            current = DeltaTable(str(path))
            if (current.transaction_version(once) or 0) >= turn:
                return False
            write_deltalake(current, rows, mode="append", schema_mode="merge", commit_properties=commit)
            return True
        except (DeltaError, OSError) as error:
            last = error
            time.sleep(random.uniform(0.01, 0.05) * min(attempt + 1, 10))
    raise Refusal(f"the table could not be written ({last})", path, "Try again; check that the disk is writable")


def delete(path: Path, where: Mapping[str, str], **meta: str) -> int:
    """Removes the rows where every column has its value, as a new version; the old version stays readable."""
    from deltalake import CommitProperties, DeltaTable
    from deltalake.exceptions import DeltaError

    if not exists(path):
        return 0
    condition = " AND ".join(f"{column} = '{value.replace(chr(39), chr(39) * 2)}'" for column, value in where.items())
    for attempt in range(_TRIES):
        try:
            metrics = DeltaTable(str(path)).delete(condition, commit_properties=CommitProperties(custom_metadata=meta))
            return int(metrics["num_deleted_rows"])
        except DeltaError as error:
            last = error
            time.sleep(random.uniform(0.01, 0.05) * min(attempt + 1, 10))
    raise Refusal(f"the table could not be written ({last})", path, "Try again when fewer processes write to it")


def exists(path: Path) -> bool:
    return any((path / "_delta_log").glob("*.json"))


def version(path: Path) -> int:
    """The newest version; -1 if there is no table yet."""
    from deltalake import DeltaTable

    return DeltaTable(str(path)).version() if exists(path) else -1


def turn_of(path: Path, once: str) -> int:
    """The highest turn committed under `once`; 0 if there is none."""
    from deltalake import DeltaTable

    return (DeltaTable(str(path)).transaction_version(once) or 0) if exists(path) else 0


def read(
    path: Path, columns: list[str] | None = None, where: tuple[str, str] | None = None, version: int | None = None
) -> pa.Table | None:
    """The rows of one version, filtered by the value of a column, or None if there is no table.

    It reads file by file and without threads: with the scanner's threads, one process in three that ended soon
    afterwards aborted on a busy machine.
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
                present = set(opened.schema_arrow.names)  # a file may be older than a column
                names = dict.fromkeys([*wanted, *([where[0]] if where else [])])
                part = opened.read([n for n in names if n in present], use_threads=False)
        except (pa.ArrowInvalid, OSError) as error:
            reason = str(error).splitlines()[0][:120]
            raise Refusal(f"a file of the table cannot be read ({reason})", file, "Restore it from a copy") from error
        parts.append(part.filter(pc.field(where[0]) == where[1]) if where else part)
    target = pa.schema([schema.field(name) for name in wanted])
    return pa.concat_tables([_cast(p, target) for p in parts]) if parts else target.empty_table()


def _cast(part: pa.Table, target: pa.Schema) -> pa.Table:
    missing = {f.name: pa.nulls(part.num_rows, f.type) for f in target if f.name not in part.column_names}
    return pa.table({f.name: missing[f.name] if f.name in missing else part[f.name] for f in target}).cast(target)


def history(path: Path) -> list[dict[str, Any]]:
    """The commits with who and why, newest first."""
    from deltalake import DeltaTable

    return DeltaTable(str(path)).history() if exists(path) else []
