"""The only file that uses Delta Lake. Rows are appended in transactions that happen once."""

import random
import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ratchet.errors import Busy, Gone, Refusal
from ratchet.lake.rows import Rows, rows_at_once

_TRIES = 40
_KEEP = {"delta.enableExpiredLogCleanup": "false", "delta.logRetentionDuration": "interval 36500 days"}
"""Delta drops commits after 30 days by default, and with them the versions that snapshots name."""
_NO_VALUES = {"delta.dataSkippingNumIndexedCols": "0"}
"""Delta writes the extremes of columns into its log, which stays when rows are erased."""
_MANY_FILES = 64
_ROW_GROUP = 131_072
"""Rows that are compressed together, which are in memory until then; by default a million."""
_STATISTICS_LENGTH = 64
"""Characters of a column's extremes in a file: enough for a digest, and no whole input."""
_COMMIT_SECONDS = 3600.0
"""After which a file that no version names was left by a process that was killed."""


def append(
    path: Path,
    rows: pa.Table | Rows,
    once: str,
    *,
    turn: int = 1,
    after: int | None = None,
    versions: bool = True,
    counters: Mapping[str, int] | None = None,
    **meta: str,
) -> bool:
    """Appends `rows` in one commit, once per (`once`, `turn`) whoever else tries; False if it was done before.

    With `after`, the last turn must be that one: of two that read the same state, one appends. `counters` are kept with
    the commit, where `turn_of` reads each by its name.
    `meta` (who, why, ...) is kept in the table's history. A new table whose old `versions` nobody needs drops its
    history after a month. Raises Refusal if the table stays contended.
    """
    from deltalake import CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake
    from deltalake.exceptions import DeltaError

    path.mkdir(parents=True, exist_ok=True)
    # No retries inside: the commit must follow the version that was read.
    now, refused = int(time.time() * 1000), list[Refusal]()
    transactions = [Transaction(name, value, now) for name, value in {once: turn, **(counters or {})}.items()]
    commit = CommitProperties(
        custom_metadata={"ratchet": once, **meta}, max_commit_retries=0, app_transactions=transactions
    )
    last: Exception | None = None
    for attempt in range(_TRIES):
        try:
            if not exists(path):
                DeltaTable.create(
                    str(path), rows.schema, mode="ignore", configuration=(_KEEP if versions else {}) | _NO_VALUES
                )
            current = DeltaTable(str(path))
            last_turn = current.transaction_version(once) or 0
            if last_turn >= turn or after not in (None, last_turn):
                return False
            write_deltalake(
                current,
                _reader(rows, refused),
                mode="append",
                schema_mode="merge",
                commit_properties=commit,
                writer_properties=WriterProperties(
                    compression="SNAPPY", max_row_group_size=_ROW_GROUP, statistics_truncate_length=_STATISTICS_LENGTH
                ),
            )
            return True
        except (DeltaError, OSError) as error:
            if refused:
                raise refused[0] from error
            last = error
            time.sleep(random.uniform(0.01, 0.05) * min(attempt + 1, 10))
    raise Busy(f"the table could not be written ({last})", path, "Try again; check that the disk is writable")


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

    if not exists(path):
        return 0
    condition = " AND ".join(f"{column} = {quoted(value)}" for column, value in where.items())
    commit = CommitProperties(custom_metadata=meta)
    metrics = _retried(path, lambda: DeltaTable(str(path)).delete(condition, commit_properties=commit))
    return int(metrics["num_deleted_rows"])


def one_of(column: str, values: Iterable[str]) -> pc.Expression:
    """Whether a column of texts has one of the values, for `pa.Table.filter`."""
    return pc.field(column).isin(pa.array(sorted(values), pa.string()))


def quoted(value: str) -> str:
    """A text as an SQL condition has it."""
    return f"'{value.replace(chr(39), chr(39) * 2)}'"


def keep_values_out_of_the_log(path: Path) -> None:
    """For a table of an earlier Ratchet, before rows land that may have to be erased."""
    from deltalake import DeltaTable

    if exists(path) and not _NO_VALUES.items() <= (table := DeltaTable(str(path))).metadata().configuration.items():
        table.alter.set_table_properties(_NO_VALUES)


def erase(path: Path, condition: str, where: pc.Expression, columns: Sequence[str], **meta: str) -> int:
    """Removes rows from every version; the number of rows of the newest one.

    They are those for which `condition` holds, in SQL, and `where` says the same of `columns`. Each file that holds one
    is deleted, so an older version that needs it can no longer be read; so is a file that a killed process left.
    """
    from deltalake import CommitProperties, DeltaTable

    if not exists(path):
        return 0
    commit = CommitProperties(custom_metadata=meta)
    metrics = _retried(path, lambda: DeltaTable(str(path)).delete(condition, commit_properties=commit))
    present = {Path(urllib.parse.unquote(file)).name for file in DeltaTable(str(path)).file_uris()}
    for file in path.glob("*.parquet"):
        if file.name not in present and _has_row(file, where, columns) and _is_settled(path, file):
            file.unlink(missing_ok=True)
    return int(metrics["num_deleted_rows"])


def holds(path: Path, where: pc.Expression, columns: Sequence[str], since: float = 0.0) -> bool:
    """Whether a file of any version that was written since then has a row for which `where` holds of `columns`."""
    files = (file for file in path.glob("*.parquet") if file.stat().st_mtime >= since)
    return any(_has_row(file, where, columns) for file in files)


def _has_row(file: Path, where: pc.Expression, columns: Sequence[str]) -> bool:
    import pyarrow.parquet as pq

    with pq.ParquetFile(file, pre_buffer=False) as opened:
        if not set(columns) <= set(opened.schema_arrow.names):
            return False
        parts = opened.iter_batches(rows_at_once(opened.metadata), columns=list(columns), use_threads=False)
        return any(_plain(part).filter(where).num_rows for part in parts)


def _plain(batch: pa.RecordBatch) -> pa.Table:
    """The batch with ordinary texts and bytes: Delta Lake writes views of them when it rewrites a file."""
    types = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
    table = pa.Table.from_batches([batch])
    return table.cast(pa.schema([field.with_type(types.get(field.type, field.type)) for field in table.schema]))


def _is_settled(path: Path, file: Path) -> bool:
    """Whether a version names the file, or it is too old to belong to a commit that is under way."""
    if time.time() - file.stat().st_mtime > _COMMIT_SECONDS:
        return True
    commits = sorted((path / "_delta_log").glob("*.json"), reverse=True)
    return any(file.name in commit.read_text(encoding="utf-8") for commit in commits)


def compact(path: Path) -> None:
    """Merges the files of a table whose old versions nobody needs, once there are many, and deletes what is unused."""
    from deltalake import DeltaTable

    if exists(path) and len((table := DeltaTable(str(path))).file_uris()) > _MANY_FILES:
        _retried(path, table.optimize.compact)
        DeltaTable(str(path)).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)


def _retried(path: Path, work: Callable[[], Any]) -> Any:
    """What `work` returns, which is tried again while others write to the table."""
    from deltalake.exceptions import DeltaError

    for attempt in range(_TRIES):
        try:
            return work()
        except DeltaError as error:
            last = error
            time.sleep(random.uniform(0.01, 0.05) * min(attempt + 1, 10))
    raise Busy(f"the table could not be written ({last})", path, "Try again when fewer processes write to it")


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


def select(path: Path, columns: list[str], where: pc.Expression, version: int | None = None) -> Iterator[pa.Table]:
    """The rows for which an expression holds, part by part; nothing if there is no table."""
    present = rows(path, columns, version=version)
    for part in present.parts() if present else ():
        yield pa.Table.from_batches([part]).filter(where)


def rows(
    path: Path, columns: list[str] | None = None, where: tuple[str, str] | None = None, version: int | None = None
) -> Rows | None:
    """What `read` reads, part by part.

    It reads file by file and without threads: with the scanner's threads, one process in three that ended soon
    afterwards aborted on a busy machine.
    """
    if not exists(path):
        return None
    schema, by_file = _by_file(path, columns, where, version)
    return Rows(schema, lambda: (part for file in by_file.values() for part in file.parts()))


def files(path: Path, columns: list[str]) -> dict[str, Rows]:
    """The rows of the newest version by the name of the file that holds them, which is never written again."""
    return _by_file(path, columns, None, None)[1] if exists(path) else {}


def _by_file(
    path: Path, columns: list[str] | None, where: tuple[str, str] | None, version: int | None
) -> tuple[pa.Schema, dict[str, Rows]]:
    from deltalake import DeltaTable

    table = DeltaTable(str(path), version=version)
    schema = pa.schema(table.schema().to_arrow())
    target = pa.schema([schema.field(name) for name in columns or schema.names])
    paths = [Path(urllib.parse.unquote(file)) for file in table.file_uris()]
    return target, {file.name: Rows(target, partial(_parts, file, target, where)) for file in paths}


def _parts(file: Path, target: pa.Schema, where: tuple[str, str] | None) -> Iterator[pa.RecordBatch]:
    try:
        yield from _read_parts(file, target, where)
    except FileNotFoundError as error:
        what = "a file of this version is gone; `ratchet forget` or the log's retention may have erased rows of it"
        raise Gone(what, file, "Take a new snapshot: run the loop again") from error
    except (pa.ArrowInvalid, OSError) as error:
        reason = str(error).splitlines()[0][:120]
        raise Refusal(f"a file of the table cannot be read ({reason})", file, "Restore it from a copy") from error


def _read_parts(file: Path, target: pa.Schema, where: tuple[str, str] | None) -> Iterator[pa.RecordBatch]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(file, pre_buffer=False) as opened:
        present = set(opened.schema_arrow.names)  # a file may be older than a column
        names = dict.fromkeys([*target.names, *([where[0]] if where else [])])
        for batch in opened.iter_batches(
            rows_at_once(opened.metadata),
            row_groups=_row_groups(opened.metadata, where),
            columns=[n for n in names if n in present],
            use_threads=False,
        ):
            part = _plain(batch)
            part = part.filter(pc.field(where[0]) == where[1]) if where else part
            yield from _cast(part, target).to_batches()


def _row_groups(metadata: Any, where: tuple[str, str] | None) -> list[int]:
    """Those that may hold a row with this value, by the extremes that Parquet keeps of each column."""
    return [number for number in range(metadata.num_row_groups) if _may_hold(metadata.row_group(number), where)]


def _may_hold(group: Any, where: tuple[str, str] | None) -> bool:
    if where is None:
        return True
    columns = [group.column(number) for number in range(group.num_columns)]
    known = next((column.statistics for column in columns if column.path_in_schema == where[0]), None)
    return known is None or not known.has_min_max or bool(known.min <= where[1] <= known.max)


def _cast(part: pa.Table, target: pa.Schema) -> pa.Table:
    missing = {f.name: pa.nulls(part.num_rows, f.type) for f in target if f.name not in part.column_names}
    return pa.table({f.name: missing[f.name] if f.name in missing else part[f.name] for f in target}).cast(target)


def history(path: Path) -> list[dict[str, Any]]:
    """The commits with who and why, newest first."""
    from deltalake import DeltaTable

    return DeltaTable(str(path)).history() if exists(path) else []
