"""Lands new rows of a database as a batch: those after the largest watermark that has landed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from ratchet.errors import Refusal
from ratchet.files import locked
from ratchet.lake import ingest, table
from ratchet.layout import Layout
from ratchet.progress import Report, silent
from ratchet.query import Mark, Query
from ratchet.recipe import Recipe
from ratchet.settings import settings
from ratchet.types import Batch

_PART = 4096
"""Rows that are fetched at once."""
_KEPT = "query-"
"""Begins the name of a file with rows that are about to land."""
_TYPES: Mapping[str, Callable[[str], Mark]] = {
    "int": int, "str": str, "date": date.fromisoformat, "datetime": datetime.fromisoformat,
}  # fmt: skip


def land(recipe: Recipe, who: str, report: Report = silent) -> Batch | None:
    """Lands the rows that the recipe's query finds; None if there are none.

    The rows are kept in a file until they have landed, and the watermark is part of the commit that lands them: each
    row comes once, whenever the process is killed. Raises Refusal if the recipe has no query, or it cannot be used.
    """
    query = recipe.data.query
    if query is None:
        raise Refusal("the recipe has no query", recipe.name, "Give its data one: `DataSet(query=Query(...))`")
    url = os.environ.get(query.variable, "")
    if not url:
        raise Refusal(f"{query.variable} is not set", recipe.name, "Set it to the database's SQLAlchemy URL")
    home = ingest.lake(recipe.name)
    with locked(home / ".query.lock"):
        for left in sorted(home.glob(f"{_KEPT}*.jsonl")):  # by a process that was killed
            batch = _land(recipe, query, left, who, report)
            if batch.new:
                return batch
        fetched = _fetch(home, query, url, _last(home, query))
        return _land(recipe, query, fetched, who, report) if fetched else None


def _land(recipe: Recipe, query: Query, rows: Path, who: str, report: Report) -> Batch:
    """Lands the rows of the file, which is then removed; also if it is refused, since the database has them."""
    meta = {"watermark": bytes.fromhex(rows.stem.removeprefix(_KEPT)).decode()}
    layout = Layout(columns=recipe.data.layout.columns, zone=recipe.data.layout.zone)
    try:
        batch = ingest.land_rows(recipe, rows, who, layout, f"the query of {query.variable}", meta, report)
    except Refusal:
        rows.unlink()
        raise
    rows.unlink()
    return batch


def _last(home: Path, query: Query) -> Mark:
    """The largest watermark that has landed; the query's first one before that.

    A batch of which every row was refused is read again, since the recipe may have been corrected.
    """
    for commit in table.history(home / "landing"):
        if "watermark" in commit and int(commit["accepted"]):
            column, type_, value = json.loads(commit["watermark"])
            if column == query.watermark:
                return _TYPES[type_](value)
    return query.first


def _fetch(home: Path, query: Query, url: str, last: Mark) -> Path | None:
    """Writes the new rows as JSON lines to a file with the largest watermark in its name; None if there are none."""
    part = home / ".query.part"
    try:
        newest = _write(part, _rows(url, query, last), query, last)
        if newest is None:
            return None
        mark = [query.watermark, type(newest).__name__, str(newest)]
        return part.replace(home / f"{_KEPT}{json.dumps(mark).encode().hex()}.jsonl")
    finally:
        part.unlink(missing_ok=True)


def _rows(url: str, query: Query, last: Mark) -> Iterator[Mapping[Any, Any]]:
    import sqlalchemy as sa

    variable = query.variable
    try:
        engine = sa.create_engine(url)
    except ModuleNotFoundError as error:
        what = f"the database's driver {error.name} is not installed"
        raise Refusal(what, variable, "Install it, or name another one, as in postgresql+psycopg://") from None
    except (sa.exc.SQLAlchemyError, ValueError):  # their messages may hold a part of the password
        what = "it is no URL of a database"
        next = "Give dialect+driver://user:password@host/name, with special characters percent-encoded"
        raise Refusal(what, variable, next) from None
    try:
        with engine.connect().execution_options(stream_results=True) as connection:
            for part in connection.execute(sa.text(query.sql), {"after": last}).mappings().partitions(_PART):
                yield from part
    except sa.exc.SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or type(error).__name__).splitlines()[0][:200]
        raise Refusal(f"the database refuses the query ({reason})", variable, "Correct the query or the URL") from error
    finally:
        engine.dispose()


def _write(path: Path, rows: Iterator[Mapping[Any, Any]], query: Query, last: Mark) -> Mark | None:
    """Writes JSON lines; the largest watermark, or None if there is no row."""
    newest: Mark | None = None
    limit, which = settings().ingest_disk_mb << 20, f"the query of {query.variable}"
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            mark = _mark(row.get(query.watermark), query, last, which)
            if not _is_later(mark, last, which):
                what = f"the query returns rows that have landed, up to {query.watermark} = {last}"
                raise Refusal(what, which, f"Let it select `{query.watermark} > :after` alone")
            newest = mark if newest is None else max(newest, mark)  # type: ignore[type-var]
            file.write(json.dumps({name: _cell(cell) for name, cell in row.items()}) + "\n")
            if file.tell() > limit:
                what = f"the query returns more than {limit >> 20} MB"
                raise Refusal(what, which, "Let it select less at once, or raise RATCHET_INGEST_DISK_MB")
    return newest


def _mark(value: Any, query: Query, last: Mark, which: str) -> Mark:
    """A watermark, which is of the type of the query's first one."""
    if isinstance(value, Decimal) and value == int(value):
        value = int(value)
    if value is None:
        what = f"a row has no {query.watermark!r}, which is the watermark"
        raise Refusal(what, which, "Select it, and leave out rows without one")
    if type(value) is not type(last):
        what = f"the watermark {query.watermark!r} is {type(value).__name__}, and its `first` {type(last).__name__}"
        raise Refusal(what, which, "Give the query a `first` of the type that the database returns")
    mark: Mark = value
    return mark


def _is_later(mark: Mark, last: Mark, which: str) -> bool:
    try:
        return bool(mark > last)  # type: ignore[operator]
    except TypeError:
        what = f"the watermark {mark} and {last} cannot be compared, since one of them has a zone"
        raise Refusal(what, which, "Give the query a `first` with a zone, or without one") from None


def _cell(value: Any) -> Any:
    """A cell as JSON has it."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes | memoryview):
        return bytes(value).decode("utf-8", "replace")
    return value if value is None or isinstance(value, bool | int | float | str | list | dict) else str(value)
