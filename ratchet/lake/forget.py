"""Erases what is known of a request or of a subject from every table and version, now and when more of it arrives.

The list of what is to be forgotten holds request ids and digests of subjects' ids, since later segments of a log may
still hold some of it.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from ratchet import clock
from ratchet.errors import Refusal
from ratchet.lake import learning, predictions, seen, table
from ratchet.lake.ingest import lake
from ratchet.recipe import Recipe

_LIST = pa.schema({"kind": pa.string(), "value": pa.string(), "who": pa.string(), "at": pa.timestamp("us", tz="UTC")})
_AT_ONCE = 500
"""Values in one condition."""
_NAMED = 5
"""Requests that a sentence names."""


@dataclass(frozen=True)
class Forgotten:
    requests: int
    predictions: int
    labels: int
    records: int
    """Of admitted, landed and refused records that were served."""


def path(recipe: str) -> Path:
    return lake(recipe) / "forgotten"


def add(recipe: str, requests: Collection[str], subjects: Collection[str], who: str) -> None:
    """Puts request ids, and digests of subjects, on the list. An empty one would mean whoever named none."""
    assert all((*requests, *subjects))
    rows = [{"kind": kind, "value": value, "who": who, "at": datetime.now(UTC)}
            for kind, values in (("request", requests), ("subject", subjects)) for value in values]  # fmt: skip
    table.append(path(recipe), pa.Table.from_pylist(rows, schema=_LIST), f"forget {datetime.now(UTC)}", who=who)


def listed(recipe: str) -> tuple[set[str], set[str]]:
    """The request ids and the digests of subjects on the list."""
    rows = table.read(path(recipe), ["kind", "value"])
    pairs = rows.to_pylist() if rows is not None else []
    requests, subjects = ({p["value"] for p in pairs if p["kind"] == kind} for kind in ("request", "subject"))
    return requests, subjects


def list_requests(recipe: str, who: str) -> None:
    """Puts the requests of listed subjects on the list, by which labels that come later are found."""
    requests, subjects = listed(recipe)
    if new := _requests_of(recipe, subjects) - requests:
        add(recipe, new, [], who)


def erase(recipe: Recipe, who: str, since: float = 0.0) -> Forgotten:
    """Erases all that is on the list from every table, as far as its files were written since then.

    A version of a table that held a row of it can no longer be read: forgetting wins over reproducing. Killed in
    between, it does the rest the next time.
    """
    name, home = recipe.name, lake(recipe.name)
    requests, _ = listed(name)
    if not requests:
        return Forgotten(0, 0, 0, 0)
    digests, served = _digests(recipe, requests), learning.batches(name)
    names = _names(home / "quarantine", requests)
    erasure = _Erasure(who, "forgotten", since)
    records = _erase(home / "quarantine", "name", names, erasure)
    summaries = [home / "summaries" / f"{batch}.json" for batch in served] if digests else []
    _remove(summaries)  # each is made anew from the records that are left
    for each in ("records", "landing", "quarantine") if served else ():
        records += _erase(home / each, "input", digests, erasure, served)
    _remove(summaries)  # one may have been made meanwhile
    for each in ("records", "landing"):  # also if there was nothing to erase: it may have been killed here before
        seen.prune(home / each)
    # Last what says what else there is.
    tables = ("requested", "outcomes", "feedback", "learnt", "predictions")
    counts = {each: _erase(home / each, "request", requests, erasure) for each in tables}
    return Forgotten(len(requests), counts["predictions"], counts["feedback"], records)


def _remove(files: Iterable[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)


def retain(recipe: Recipe, who: str, now: datetime | None = None) -> int:
    """Erases what is older than the recipe's log may be; the number of rows."""
    limit = (now or clock.utc()) - timedelta(days=recipe.log.days)
    home, count, erasure = lake(recipe.name), 0, _Erasure(who, "retention")
    # A label whose prediction is gone would seem to wait for one.
    old = pc.field("predicted_at") < pa.scalar(limit, pa.timestamp("us", tz="UTC"))
    parts = table.select(home / "outcomes", ["request", "predicted_at"], old)
    joined = {request for part in parts for request in part["request"].to_pylist()}
    for name in ("feedback", "learnt"):
        count += _erase(home / name, "request", joined, erasure)
    for name, column in (("predictions", "at"), ("feedback", "at"), ("outcomes", "predicted_at")):
        count += _erase_older(home / name, column, limit, erasure)
        table.compact(home / name)
    if served := learning.batches(recipe.name):
        for name in ("records", "landing", "quarantine"):
            count += _erase_older(home / name, "captured_at", limit, erasure, served)
    return count


def gone(recipe: str, version: int) -> str:
    """Which records of a version of the admitted ones were erased since, for people; empty if none were."""
    commits = {commit["version"]: commit for commit in table.history(lake(recipe) / "records")}
    counts = Counter[str]()
    for number, commit in commits.items():
        if number > version:
            counts[commit.get("why", "")] += commit.get("operationMetrics", {}).get("num_deleted_rows", 0)
    since = datetime.fromtimestamp(commits[version]["timestamp"] / 1000, UTC) if version in commits else None
    rows = table.read(path(recipe), ["kind", "value", "at"])
    requests = sorted(
        row["value"]
        for row in (rows.to_pylist() if rows is not None else ())
        if row["kind"] == "request" and since and row["at"] >= since
    )
    parts = []
    if counts["forgotten"]:
        more = f" and {len(requests) - _NAMED} more" if len(requests) > _NAMED else ""
        which = ", ".join(requests[:_NAMED]) + more
        parts.append(f"{counts['forgotten']} records were forgotten, among the requests {which}")
    if counts["retention"]:
        parts.append(f"{counts['retention']} were older than the log may keep them")
    return "; ".join(parts)


def _requests_of(recipe: str, subjects: set[str]) -> set[str]:
    if not subjects:
        return set()
    mine = table.one_of("subject", subjects)
    parts = table.select(predictions.predictions(recipe), ["request", "subject"], mine)
    return {request for part in parts for request in part["request"].to_pylist()}


def _digests(recipe: Recipe, requests: set[str]) -> set[str]:
    """The input digests of what these requests sent, as records have them."""
    mine, columns = table.one_of("request", requests), ["request", "row", "at", "input"]
    known = table.select(learning.learnt(recipe.name), ["request", "input"], mine)
    learnt = {digest for part in known for digest in part["input"].to_pylist()}
    parts = table.select(predictions.predictions(recipe.name), columns, mine)
    rows = (row for part in parts for row in part.to_pylist() if row["input"] is not None)
    return learnt | {digest for row in rows if (digest := _digest(recipe, row))}


def _digest(recipe: Recipe, row: dict[str, object]) -> str:
    """Empty for an input that is no record."""
    record = learning.row_of(recipe, {**row, "label": None, "predicted_at": row["at"]}, row["input"])  # type: ignore[arg-type]
    if record is None or "data" not in record:
        return ""
    try:
        return recipe.contract.digest(record["data"], record["captured_at"])
    except Refusal:
        return ""


def _names(path: Path, requests: set[str]) -> set[str]:
    """The names of refused records of these requests."""
    rows = table.read(path, ["name"]) if table.exists(path) else None
    names = {name for name in (rows["name"].to_pylist() if rows is not None else ()) if name}
    return {name for name in names if is_of(name, requests)}


def is_of(name: str, requests: set[str]) -> bool:
    """Whether a refused record of this name is one of these requests'."""
    return any(name[: at.start()] in requests for at in _ROW.finditer(name))


_ROW = re.compile(r"#\d+( \(label |$)")
"""Follows a request's id in the name of a refused record, whose label may be anything."""


@dataclass(frozen=True)
class _Erasure:
    """Who erases and why; files that were written before `since` are known to hold nothing of it."""

    who: str
    why: str
    since: float = 0.0


def _erase(path: Path, column: str, values: set[str], erasure: _Erasure, batches: set[str] | None = None) -> int:
    """Erases the rows with one of the values, in these batches alone if they are named."""
    count, ordered = 0, sorted(values)
    for start in range(0, len(ordered), _AT_ONCE):
        part = ordered[start : start + _AT_ONCE]
        count += _erase_where(path, column, _in(column, part), table.one_of(column, part), erasure, batches)
    return count


def _erase_older(path: Path, column: str, limit: datetime, erasure: _Erasure, batches: set[str] | None = None) -> int:
    condition = f"{column} < TIMESTAMP '{limit:%Y-%m-%dT%H:%M:%SZ}'"
    where = pc.field(column) < pa.scalar(limit, pa.timestamp("us", tz="UTC"))
    return _erase_where(path, column, condition, where, erasure, batches)


def _erase_where(
    path: Path, column: str, condition: str, where: pc.Expression, erasure: _Erasure, batches: set[str] | None
) -> int:
    """Erases by a condition on a column; a table whose files hold no such row, in any version, is left alone."""
    columns = [column]
    if batches:
        condition, where = f"{condition} AND {_in('batch', batches)}", where & table.one_of("batch", batches)
        columns.append("batch")
    if not table.holds(path, where, columns, erasure.since):
        return 0
    return table.erase(path, condition, where, columns, who=erasure.who, why=erasure.why)


def _in(column: str, values: Iterable[str]) -> str:
    return f"{column} IN ({', '.join(map(table.quoted, sorted(values)))})"
