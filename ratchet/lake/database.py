"""Lands new rows of a database as a batch: those after the largest watermark that has landed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ratchet.errors import Refusal
from ratchet.files import locked
from ratchet.lake import ingest, table
from ratchet.recipe import Recipe
from ratchet.scratch import scratch_folder
from ratchet.settings import settings
from ratchet.types import Batch

if TYPE_CHECKING:
    import sqlalchemy as sa

_PART = 4096
"""Rows that are fetched at once."""


def land(recipe: Recipe, who: str) -> Batch | None:
    """Lands the rows that the recipe's query finds; None if there are none.

    The watermark is part of the commit that lands them, so a row comes once, whenever the process is killed. Raises
    Refusal if the recipe has no query, or the database refuses it.
    """
    query = recipe.data.query
    if query is None:
        raise Refusal("the recipe has no query", recipe.name, "Give its data one: `DataSet(query=Query(...))`")
    url = os.environ.get(query.variable, "")
    if not url:
        raise Refusal(f"{query.variable} is not set", recipe.name, "Set it to the database's SQLAlchemy URL")
    home = ingest.lake(recipe.name)
    with locked(home / ".query.lock"), scratch_folder() as folder:
        path, last = folder / "rows.jsonl", _last(home)
        newest = _write(path, _rows(url, query.sql, query.variable, last), query.watermark, last)
        if newest is None:
            return None
        return ingest.land(recipe, path, who, source=query.variable, watermark=json.dumps(_plain(newest)))


def _last(home: Path) -> Any:
    """The largest watermark that has landed; None before the first."""
    for commit in table.history(home / "landing"):
        if "watermark" in commit:
            value = json.loads(commit["watermark"])
            return datetime.fromisoformat(value["time"]) if isinstance(value, dict) else value
    return None


def _plain(value: Any) -> Any:
    """A watermark as JSON has it."""
    return {"time": value.isoformat()} if isinstance(value, date) else value


def _rows(url: str, sql: str, variable: str, last: Any) -> Iterator[Mapping[Any, Any]]:
    import sqlalchemy as sa

    try:
        engine = sa.create_engine(url)
        with engine.connect().execution_options(stream_results=True) as connection:
            for part in connection.execute(sa.text(sql), _parameters(sa.text(sql), last)).mappings().partitions(_PART):
                yield from part
        engine.dispose()
    except ModuleNotFoundError as error:
        what = f"the database's driver {error.name} is not installed"
        raise Refusal(what, variable, "Install it, or name another one, as in postgresql+psycopg://") from error
    except sa.exc.SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or type(error).__name__).splitlines()[0][:200]
        raise Refusal(f"the database refuses the query ({reason})", variable, "Correct the query or the URL") from error


def _parameters(statement: sa.TextClause, last: Any) -> dict[str, Any]:
    return {"after": last} if "after" in statement.compile().params else {}


def _write(path: Path, rows: Iterator[Mapping[Any, Any]], watermark: str, last: Any) -> Any:
    """Writes JSON lines; the largest watermark, or None if there is no row."""
    newest, limit = None, settings().ingest_disk_mb << 20
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            mark = row.get(watermark)
            if mark is None:
                what = f"a row has no {watermark!r}, which is the watermark"
                raise Refusal(what, "the query", "Select it, and leave out rows without one")
            if last is not None and mark <= last:
                what = f"the query returns rows that have landed, up to {watermark} = {last}"
                raise Refusal(what, "the query", f"Let it select `{watermark} > :after` alone")
            newest = mark if newest is None else max(newest, mark)
            file.write(json.dumps({name: _cell(cell) for name, cell in row.items()}, ensure_ascii=False) + "\n")
            if file.tell() > limit:
                what = f"the query returns more than {limit >> 20} MB"
                raise Refusal(what, "the query", "Let it select less at once, or raise RATCHET_INGEST_DISK_MB")
    return newest


def _cell(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, date):
        return value.isoformat()
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
