"""Rows of a database land as batches, each row once, and the URL's password is nobody's to see."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from commands import ingest as command
from ratchet.errors import Refusal
from ratchet.kinds.table import Column, TableContract
from ratchet.lake import database, ingest, quarantine, table
from ratchet.layout import Layout
from ratchet.query import Query
from ratchet.recipe import Classification, Criteria, DataSet, Feed, Recipe, Suite, Training

SQL = "SELECT id, size, colour, kept FROM trips WHERE id > :after ORDER BY id"


@pytest.fixture
def recipe(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    monkeypatch.setenv("RATCHET_TRIPS_URL", f"sqlite:///{tmp_path / 'trips.db'}")
    benchmark = tmp_path / "benchmark.csv"
    benchmark.write_text("id,size,colour,kept\n" + "\n".join(f"b{n},{n},red,yes" for n in range(20)))
    columns = Column("id", "category", feature=False), Column("size", "number"), Column("colour", "category")
    return Recipe(
        name="trips",
        version=1,
        purpose="Trips.",
        contract=TableContract(columns, target="kept", id="id"),
        task=Classification(("yes", "no")),
        data=DataSet(
            "trips_dir",
            (str(tmp_path),),
            "",
            {benchmark.name: ingest.sha256(benchmark)},
            query=Query(SQL, watermark="id", setting="trips_url", first=""),
        ),
        batches=(Feed(benchmark.name),),
        benchmark=Feed(benchmark.name),
        suite=Suite(),
        training=Training(family="mlp"),
        criteria=Criteria(),
    )


@pytest.fixture
def trips(tmp_path: Path) -> Iterator[sa.Connection]:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'trips.db'}")
    with engine.connect() as connection:
        connection.execute(sa.text("CREATE TABLE trips (id TEXT, size REAL, colour TEXT, kept TEXT)"))
        yield connection
    engine.dispose()


def insert(trips: sa.Connection, ids: range) -> None:
    rows = [{"id": f"t{n:04}", "size": n / 7, "colour": "blue", "kept": ("yes", "no")[n % 2]} for n in ids]
    trips.execute(sa.text("INSERT INTO trips VALUES (:id, :size, :colour, :kept)"), rows)
    trips.commit()


def landed(recipe: Recipe) -> list[str]:
    rows = table.read(ingest.lake(recipe.name) / "landing", ["row"])
    return [] if rows is None else sorted(json.loads(row)["id"] for row in rows["row"].to_pylist())


def test_each_row_lands_once_however_often_the_database_is_read(recipe: Recipe, trips: sa.Connection) -> None:
    insert(trips, range(10))
    first = database.land(recipe, "me")
    assert first
    assert (first.accepted, first.quarantined, first.source) == (10, 0, "the query of RATCHET_TRIPS_URL")
    assert database.land(recipe, "me") is None
    insert(trips, range(10, 25))
    second = database.land(recipe, "me")
    assert second
    assert second.accepted == 15
    assert landed(recipe) == [f"t{n:04}" for n in range(25)]


def test_rows_that_were_read_before_a_kill_land_once_with_those_that_came_since(
    recipe: Recipe, trips: sa.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of them is refused: it is in quarantine once, too."""
    insert(trips, range(10))
    trips.execute(sa.text("UPDATE trips SET kept = 'perhaps' WHERE id = 't0003'"))
    trips.commit()

    def killed(*args: object, **more: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("ratchet.lake.ingest.table.append", killed)
        with pytest.raises(KeyboardInterrupt):
            database.land(recipe, "me")
    insert(trips, range(10, 12))
    counts = [
        (batch.accepted, batch.quarantined)
        for batch in (database.land(recipe, "me"), database.land(recipe, "me"))
        if batch
    ]
    assert counts == [(9, 1), (2, 0)]
    assert landed(recipe) == [f"t{n:04}" for n in range(12) if n != 3]
    assert sum(entry.rows for entry in quarantine.entries(ingest.lake(recipe.name))) == 1
    assert database.land(recipe, "me") is None


def test_a_batch_of_which_every_row_was_refused_is_read_again_when_the_recipe_is_corrected(
    recipe: Recipe, trips: sa.Connection, tmp_path: Path
) -> None:
    insert(trips, range(10))
    columns = Column("id", "category", feature=False), Column("size", "number", low=50), Column("colour", "category")
    wrong = replace(recipe, contract=TableContract(columns, target="kept", id="id"))
    lines = "\n".join(f"b{n},{n + 60},red,yes" for n in range(20))
    (tmp_path / "benchmark.csv").write_text("id,size,colour,kept\n" + lines)
    data = replace(recipe.data, files={"benchmark.csv": ingest.sha256(tmp_path / "benchmark.csv")})
    recipe, wrong = replace(recipe, data=data), replace(wrong, data=data)
    refused = database.land(wrong, "me")
    assert refused
    assert (refused.accepted, refused.quarantined) == (0, 10)
    again = database.land(recipe, "me")
    assert again
    assert again.accepted == 10


TIMES = {
    "int": (0, [1, 2, 3]),
    "date": (date(1970, 1, 1), [date(2024, 1, 1 + n) for n in range(3)]),
    "datetime": (datetime(1970, 1, 1), [datetime(2024, 1, 1, n, microsecond=5) for n in range(3)]),
}


@pytest.mark.parametrize("type_", TIMES)
def test_a_watermark_may_be_a_number_a_date_or_a_time(type_: str, recipe: Recipe, tmp_path: Path) -> None:
    """As PostgreSQL returns it; SQLite has no such types."""
    first, values = TIMES[type_]
    data = replace(recipe.data, query=Query("SELECT :after", watermark="at", setting="trips_url", first=first))
    assert replace(recipe, data=data), "a recipe may have it"
    query = Query("SELECT :after", watermark="at", setting="trips_url", first=first)
    last: Any = first
    for value in values:
        rows = iter([{"at": value, "size": 1}])
        newest = database._write(tmp_path / "rows", rows, query, last)
        mark = json.dumps(["at", type(newest).__name__, str(newest)])
        _, name, text = json.loads(mark)
        assert database._TYPES[name](text) == value
        last = newest
    with pytest.raises(Refusal, match="rows that have landed"):
        database._write(tmp_path / "rows", iter([{"at": values[0]}]), query, last)
    with pytest.raises(Refusal, match="the watermark 'at' is str, and its `first`"):
        database._write(tmp_path / "rows", iter([{"at": "x"}]), query, last)


def test_the_layout_of_the_recipes_files_does_not_garble_the_rows(recipe: Recipe, trips: sa.Connection) -> None:
    insert(trips, range(3))
    ingest.benchmark(recipe)
    trips.execute(sa.text("UPDATE trips SET colour = 'Grün'"))
    trips.commit()
    layout = Layout(encoding="latin-1", time="%m/%d/%Y")
    assert database.land(replace(recipe, data=replace(recipe.data, layout=layout)), "me")
    rows = table.read(ingest.lake(recipe.name) / "landing", ["row"])
    assert rows is not None
    assert {json.loads(row)["colour"] for row in rows["row"].to_pylist()} == {"Grün"}


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT * FROM trip WHERE id > :after", "no such table: trip"),
        ("SELECT size, colour, kept FROM trips WHERE id > :after", "a row has no 'id', which is the watermark"),
        ("SELECT id, size FROM trips WHERE id > :after", "it has no column 'kept', 'colour'"),
        ("SELECT 7 AS id, size, colour, kept FROM trips WHERE id > :after", "the watermark 'id' is int"),
    ],
)
def test_a_query_that_cannot_be_used_is_refused_with_the_reason(
    sql: str, words: str, recipe: Recipe, trips: sa.Connection
) -> None:
    insert(trips, range(10))
    query = Query(sql, watermark="id", setting="trips_url", first="")
    with pytest.raises(Refusal, match=words) as caught:
        database.land(replace(recipe, data=replace(recipe.data, query=query)), "me")
    assert "/tmp" not in str(caught.value), "which is gone"
    assert not list(ingest.lake(recipe.name).glob("query-*"))


def test_a_query_that_ignores_the_watermark_is_refused_before_rows_come_twice(
    recipe: Recipe, trips: sa.Connection
) -> None:
    insert(trips, range(10))
    query = Query("SELECT * FROM trips WHERE id > :after OR 1", watermark="id", setting="trips_url", first="")
    careless = replace(recipe, data=replace(recipe.data, query=query))
    assert database.land(careless, "me")
    with pytest.raises(Refusal, match=r"rows that have landed, up to id = t0009") as caught:
        database.land(careless, "me")
    assert "`id > :after`" in caught.value.next


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://u:secret@127.0.0.1:9/db",
        "oracle://u:secret@h/db",
        "secret",
        "postgresql+psycopg://u:pa@x:secret@h/db",
    ],
)
def test_a_url_that_leads_nowhere_is_refused_without_its_password(
    url: str, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RATCHET_TRIPS_URL", url)
    with pytest.raises(Refusal) as caught:
        database.land(recipe, "me")
    assert "RATCHET_TRIPS_URL" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_recipe_without_a_query_says_so(home: Path) -> None:
    result = CliRunner().invoke(command.command, ["fashion-mnist", "--sql"])
    assert "the recipe has no query" in str(result.exception)
