"""Rows of a database land as batches, each row once, and the URL's password is nobody's to see."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from commands import ingest as command
from ratchet.errors import Refusal
from ratchet.kinds.table import Column, TableContract
from ratchet.lake import database, ingest, table
from ratchet.query import Query
from ratchet.recipe import Classification, Criteria, DataSet, Feed, Recipe, Suite, Training

SQL = "SELECT id, size, colour, kept FROM trips WHERE :after IS NULL OR id > :after ORDER BY id"


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
            query=Query(SQL, watermark="id", setting="trips_url"),
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
    assert (first.accepted, first.quarantined, first.source) == (10, 0, "RATCHET_TRIPS_URL")
    assert database.land(recipe, "me") is None
    insert(trips, range(10, 25))
    second = database.land(recipe, "me")
    assert second
    assert second.accepted == 15
    assert landed(recipe) == [f"t{n:04}" for n in range(25)]


def test_a_read_that_was_killed_before_it_landed_is_read_again(
    recipe: Recipe, trips: sa.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert(trips, range(10))

    def killed(*args: object, **more: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(table, "append", killed)
        with pytest.raises(KeyboardInterrupt):
            database.land(recipe, "me")
    again = database.land(recipe, "me")
    assert again
    assert again.accepted == 10


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT * FROM trip", "no such table: trip"),
        ("SELECT size, colour, kept FROM trips", "a row has no 'id', which is the watermark"),
        ("SELECT id, size FROM trips", "it has no column 'kept', 'colour'"),
    ],
)
def test_a_query_that_cannot_be_used_is_refused_with_the_reason(
    sql: str, words: str, recipe: Recipe, trips: sa.Connection
) -> None:
    insert(trips, range(10))
    query = Query(sql, watermark="id", setting="trips_url")
    with pytest.raises(Refusal, match=words):
        database.land(replace(recipe, data=replace(recipe.data, query=query)), "me")


def test_a_query_that_ignores_the_watermark_is_refused_before_rows_come_twice(
    recipe: Recipe, trips: sa.Connection
) -> None:
    insert(trips, range(10))
    query = Query("SELECT * FROM trips", watermark="id", setting="trips_url")
    careless = replace(recipe, data=replace(recipe.data, query=query))
    assert database.land(careless, "me")
    with pytest.raises(Refusal, match=r"rows that have landed, up to id = t0009") as caught:
        database.land(careless, "me")
    assert "`id > :after`" in caught.value.next


@pytest.mark.parametrize("url", ["postgresql+psycopg://u:secret@127.0.0.1:9/db", "oracle://u:secret@h/db", "secret"])
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
