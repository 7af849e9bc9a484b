"""`make bench-lake`: a table of many rows through ingest, validation, admission and snapshot, in a home of its own.

Prints the seconds of each step and the most anonymous memory that one of its processes took. With DuckDB installed
(`uv pip install duckdb`) it does the same by hand: checks ranges, digests each row, writes Parquet, and sorts digests.
"""

import argparse
import importlib.util
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from flows import model_cards
from ratchet.kinds.table import Column, TableContract
from ratchet.lake import ingest, quarantine, snapshot
from ratchet.lake.fetch import digest
from ratchet.recipe import Classification, Criteria, DataSet, Feed, Recipe, Suite, Training
from ratchet.settings import settings

_PART = 250_000
_NUMBERS, _INTEGERS = [f"x{i}" for i in range(8)], [f"n{i}" for i in range(4)]
_CATEGORIES, _BOOLEANS = [f"c{i}" for i in range(4)], ["b0", "b1"]
_HEAD = "| step | seconds | memory, MB |\n| --- | --- | --- |"


def write(path: Path, count: int) -> None:
    """Twenty columns: eight numbers, four integers, four categories, two booleans, a time and the label."""
    chance, writer = np.random.default_rng(0), None
    for start in range(0, count, _PART):
        size = min(_PART, count - start)
        columns: dict[str, Any] = {name: chance.normal(i, 1 + i, size).round(3) for i, name in enumerate(_NUMBERS)}
        columns |= {name: chance.integers(0, 1000, size) for name in _INTEGERS}
        for i, name in enumerate(_CATEGORIES):
            columns[name] = np.array([f"cat{k}" for k in range(20 + 10 * i)])[chance.integers(0, 20 + 10 * i, size)]
        columns |= {name: chance.random(size) < 0.4 for name in _BOOLEANS}
        times = 1_700_000_000_000_000 + np.arange(start, start + size) * 1_000_000
        columns["at"] = pa.array(times, pa.timestamp("us", tz="UTC"))
        columns["label"] = np.where(columns["x0"] + columns["n0"] / 500 + chance.normal(0, 1, size) > 1, "yes", "no")
        rows = pa.table(columns)
        writer = writer or pq.ParquetWriter(path, rows.schema)
        writer.write_table(rows)
    assert writer
    writer.close()


def recipe(benchmark: Path) -> Recipe:
    columns = (
        *(Column(name, "number", low=-100, high=100) for name in _NUMBERS),
        *(Column(name, "integer", low=0, high=1000) for name in _INTEGERS),
        *(Column(name, "category", length=8) for name in _CATEGORIES),
        *(Column(name, "boolean") for name in _BOOLEANS),
        Column("at", "timestamp", feature=False),
    )
    feed = Feed(benchmark.name)
    return Recipe(
        name="many-rows", version=1, purpose="Measures the lake.", task=Classification(("no", "yes")),
        contract=TableContract(columns, target="label", time="at"), batches=(feed,), benchmark=feed,
        data=DataSet("many_rows_dir", (str(benchmark.parent),), "", {benchmark.name: digest(benchmark)}),
        suite=Suite(max_age_days=36500.0), training=Training(family="boosting"), criteria=Criteria(),
    )  # fmt: skip


def timed(step: str, work: Callable[[], Any]) -> Any:
    """Runs the step and prints its row; the memory is sampled four times a second."""
    most, over = [0.0], threading.Event()

    def watch() -> None:
        own = psutil.Process()
        while not over.is_set():
            most[0] = max(most[0], *(_anonymous(each.pid) for each in [own, *own.children(recursive=True)]))
            over.wait(0.25)

    thread, started = threading.Thread(target=watch), time.monotonic()
    thread.start()
    try:
        return work()
    finally:
        over.set()
        thread.join()
        print(f"| {step} | {time.monotonic() - started:.1f} | {most[0]:.0f} |", flush=True)


def _anonymous(pid: int) -> float:
    """Megabytes of memory that no file backs."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))
    except (OSError, StopIteration):
        return 0.0


def by_hand(rows: Path, folder: Path) -> None:
    """The same with DuckDB, with 2 GB at most."""
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET memory_limit = '2GB'")
    connection.execute(f"SET temp_directory = '{folder / 'duckdb'}'")
    ranges = [f"{name} BETWEEN -100 AND 100" for name in _NUMBERS] + [f"{n} BETWEEN 0 AND 1000" for n in _INTEGERS]
    valid = " AND ".join([*ranges, *(f"length({name}) <= 8" for name in _CATEGORIES), "label IN ('yes', 'no')"])
    row = ", ".join(f"'{name}': {name}" for name in [*_NUMBERS, *_INTEGERS, *_CATEGORIES, *_BOOLEANS])
    out = folder / "by-hand.parquet"
    select = f"SELECT *, sha256(CAST(to_json({{{row}}}) AS VARCHAR)) AS input FROM read_parquet('{rows}') WHERE {valid}"  # noqa: S608
    timed("DuckDB: check, digest and write", lambda: connection.execute(f"COPY ({select}) TO '{out}'"))
    figures = ", ".join(f"min({n}), max({n}), avg({n}), count({n})" for n in [*_NUMBERS, *_INTEGERS])
    query = f"SELECT {figures}, count(DISTINCT input), avg((label = 'yes')::INT) FROM read_parquet('{out}')"  # noqa: S608
    timed("DuckDB: statistics and duplicates", lambda: connection.execute(query).fetchall())
    ordered = f"COPY (SELECT input FROM read_parquet('{out}') ORDER BY input) TO '{folder / 'ordered.parquet'}'"  # noqa: S608
    timed("DuckDB: digests in order", lambda: connection.execute(ordered))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        os.environ |= {"RATCHET_HOME": f"{scratch}/home", "RATCHET_INGEST_DISK_MB": "100000"}
        settings.cache_clear()
        write(folder / "rows.parquet", options.rows)
        write(folder / "benchmark.parquet", 3000)
        own = recipe(folder / "benchmark.parquet")
        ingest.benchmark(own)
        home = ingest.lake(own.name)
        print(f"{options.rows} rows\n{_HEAD}", flush=True)
        batch = timed("ingest", lambda: ingest.land(own, folder / "rows.parquet", "benchmark"))
        timed("validation", lambda: model_cards.run_suite(own, batch.id))
        timed("admission", lambda: quarantine.admit_landed(home, batch.id, "benchmark"))
        taken = timed("snapshot", lambda: snapshot.take(own))
        assert taken.records == batch.accepted
        if importlib.util.find_spec("duckdb"):
            by_hand(folder / "rows.parquet", folder)
        else:
            print("DuckDB is not installed, so it is not compared.")


if __name__ == "__main__":
    main()
