"""The only file that uses Delta Lake. Rows are appended in transactions that happen once."""

import random
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from ratchet.errors import Refusal
from ratchet.lake.rows import Rows, rows_at_once

_TRIES = 40
_KEEP = {"delta.enableExpiredLogCleanup": "false", "delta.logRetentionDuration": "interval 36500 days"}
"""Delta drops commits after 30 days by default, and with them the versions that snapshots name."""


def append(path: Path, rows: pa.Table | Rows, once: str, *, turn: int = 1, **meta: str) -> bool:
    """Appends `rows` in one commit, once per (`once`, `turn`) whoever else tries; False if it was done before.

    `meta` (who, why, ...) is kept in the table's history. Raises Refusal if the table stays contended.
    """
    from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
    from deltalake.exceptions import DeltaError

    path.mkdir(parents=True, exist_ok=True)
    # No retries inside: the commit must follow the version that was read.
    transactions, refused = [Transaction(once, turn, int(time.time() * 1000))], list[Refusal]()
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
            write_deltalake(
                current, _reader(rows, refused), mode="append", schema_mode="merge", commit_properties=commit
            )
            return True
        except (DeltaError, OSError) as error:
            if refused:
                raise refused[0] from error
            last = error
            time.sleep(random.uniform(0.01, 0.05) * min(attempt + 1, 10))
    raise Refusal(f"the table could not be written ({last})", path, "Try again; check that the disk is writable")


def _reader(rows: pa.Table | Rows, refused: list[Refusal]) -> pa.RecordBatchReader:
    """The rows as a stream. Delta Lake hides what is raised while it reads, so it is kept in `refused`."""

    def parts() -> Iterator[pa.RecordBatch]:
        try:
            yield from rows.to_reader()
        except Refusal as refusal:
            refused.append(refusal)
            raise

    return pa.RecordBatchReader.from_batches(rows.schema, parts())


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
    """The rows of one version, filtered by the value of a column, or None if there is no table."""
    rows_ = rows(path, columns, where, version)
    return pa.Table.from_batches(list(rows_.parts()), rows_.schema) if rows_ else None


def rows(
    path: Path, columns: list[str] | None = None, where: tuple[str, str] | None = None, version: int | None = None
) -> Rows | None:
    """What `read` reads, part by part.

    It reads file by file and without threads: with the scanner's threads, one process in three that ended soon
    afterwards aborted on a busy machine.
    """
    from deltalake import DeltaTable

    if not exists(path):
        return None
    table = DeltaTable(str(path), version=version)
    files, schema = table.file_uris(), pa.schema(table.schema().to_arrow())
    target = pa.schema([schema.field(name) for name in columns or schema.names])

    def parts() -> Iterator[pa.RecordBatch]:
        for file in files:
            try:
                yield from _parts(file, target, where)
            except (pa.ArrowInvalid, OSError) as error:
                reason = str(error).splitlines()[0][:120]
                what = f"a file of the table cannot be read ({reason})"
                raise Refusal(what, file, "Restore it from a copy") from error

    return Rows(target, parts)


def _parts(file: str, target: pa.Schema, where: tuple[str, str] | None) -> Iterator[pa.RecordBatch]:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with pq.ParquetFile(urllib.parse.unquote(file), pre_buffer=False) as opened:
        present = set(opened.schema_arrow.names)  # a file may be older than a column
        names = dict.fromkeys([*target.names, *([where[0]] if where else [])])
        for batch in opened.iter_batches(
            rows_at_once(opened.metadata), columns=[n for n in names if n in present], use_threads=False
        ):
            part = pa.Table.from_batches([batch])
            part = part.filter(pc.field(where[0]) == where[1]) if where else part
            yield from _cast(part, target).to_batches()


def _cast(part: pa.Table, target: pa.Schema) -> pa.Table:
    missing = {f.name: pa.nulls(part.num_rows, f.type) for f in target if f.name not in part.column_names}
    return pa.table({f.name: missing[f.name] if f.name in missing else part[f.name] for f in target}).cast(target)


def history(path: Path) -> list[dict[str, Any]]:
    """The commits with who and why, newest first."""
    from deltalake import DeltaTable

    return DeltaTable(str(path)).history() if exists(path) else []
