"""`make bench-data`: a table of many rows as one batch and as ten, beside DuckDB and Polars by hand.

Each step (ingest, validation, admission, snapshot) is done by a process of its own, so that its memory is that step's:
the most anonymous memory that it took, its libraries included. The seconds are those of the step, without imports.
DuckDB and Polars make the checks of the suite by hand on the same file, in turns with the validation.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import page
from ratchet.kinds.table import Column, TableContract
from ratchet.lake.fetch import digest
from ratchet.recipe import Classification, Criteria, DataSet, Feed, Recipe, Suite, Training

_PART, _BATCHES, _TURNS = 250_000, 10, 3
_NUMBERS, _INTEGERS = [f"x{i}" for i in range(8)], [f"n{i}" for i in range(4)]
_CATEGORIES, _BOOLEANS = [f"c{i}" for i in range(4)], ["b0", "b1"]
_COLUMNS = [*_NUMBERS, *_INTEGERS, *_CATEGORIES, *_BOOLEANS]
_STEPS = ("ingest", "validation", "admission", "snapshot")
_BENCHMARK = "benchmark.parquet"


@dataclass(frozen=True)
class Cost:
    seconds: float
    memory_mb: float


def write_rows(path: Path, count: int, seed: int = 0) -> None:
    """Twenty columns: eight numbers, four integers, four categories, two booleans, a time and the label."""
    chance, writer = np.random.default_rng(seed), None
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


def do(step: str, own: Recipe, file: Path) -> Callable[[], object]:
    """The work of a step, or of `every` one, on the one batch that waits for it, with its libraries loaded."""
    import great_expectations  # noqa: F401

    from flows import model_cards
    from ratchet.lake import ingest, quarantine, snapshot

    home = ingest.lake(own.name)
    ingest.benchmark(own)
    works: dict[str, Callable[[], object]] = {
        "ingest": lambda: ingest.land(own, file, "benchmark"),
        "validation": lambda: model_cards.run_suite(own, *quarantine.pending(home)),
        "admission": lambda: quarantine.admit_landed(home, *quarantine.pending(home), "benchmark"),
        "snapshot": lambda: snapshot.take(own),
    }
    if step == "every":
        return lambda: [works[each]() for each in _STEPS]
    by_hand = {"DuckDB": duckdb_by_hand, "Polars": polars_by_hand}
    return works[step] if step in works else by_hand[step](file)


def duckdb_by_hand(file: Path) -> Callable[[], object]:
    """The checks of the suite in one query: missing values and ranges, labels, duplicates, ages."""
    import duckdb

    connection = duckdb.connect()
    missing = [f"count(*) - count({name})" for name in _COLUMNS]
    ranges = [f"min({name}), max({name})" for name in [*_NUMBERS, *_INTEGERS]]
    repeated = f"count(*) - count(DISTINCT hash({', '.join(_COLUMNS)}))"
    labels = "count(*) FILTER (label = 'yes'), count(*) FILTER (label = 'no')"
    checks = ", ".join([*missing, *ranges, repeated, labels, 'min("at"), max("at")'])
    query = f"SELECT count(*), {checks} FROM read_parquet('{file}')"  # noqa: S608
    return lambda: connection.execute(query).fetchall()


def polars_by_hand(file: Path) -> Callable[[], object]:
    """The same."""
    import polars as pl

    numbers = [*_NUMBERS, *_INTEGERS]
    checks = [
        pl.len().alias("rows"),
        *(pl.col(name).null_count().alias(f"{name} missing") for name in _COLUMNS),
        *(pl.col(name).min().alias(f"{name} least") for name in numbers),
        *(pl.col(name).max().alias(f"{name} most") for name in numbers),
        pl.struct(_COLUMNS).hash().n_unique().alias("different"),
        *((pl.col("label") == label).sum().alias(label) for label in ("yes", "no")),
        pl.col("at").min().alias("first"),
        pl.col("at").max().alias("last"),
    ]
    return lambda: pl.scan_parquet(file).select(checks).collect(engine="streaming")


def measured(work: Callable[[], object]) -> Cost:
    """Runs the work; the memory of this process and its children is sampled four times a second."""
    most, over = [0.0], threading.Event()

    def watch() -> None:
        own = psutil.Process()
        while not over.is_set():
            most[0] = max(most[0], *(_anonymous(each.pid) for each in [own, *own.children(recursive=True)]))
            over.wait(0.25)

    thread, started = threading.Thread(target=watch), time.monotonic()
    thread.start()
    try:
        work()
    finally:
        over.set()
        thread.join()
    return Cost(time.monotonic() - started, most[0])


def _anonymous(pid: int) -> float:
    """Megabytes of memory that no file backs."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))
    except (OSError, StopIteration):
        return 0.0


def cost(step: str, home: Path, file: Path) -> Cost:
    """Of the step, in a process of its own."""
    print(f"{step} of {file.name}", file=sys.stderr, flush=True)
    env = {**os.environ, "RATCHET_HOME": str(home), "RATCHET_INGEST_DISK_MB": "100000"}
    command = [sys.executable, "-m", "benchmarks.data", "--do", step, "--file", str(file)]
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def in_batches(folder: Path, rows: int) -> list[dict[str, Cost]]:
    """What the first and the last of ten batches cost, step by step; the others come in between."""
    costs = []
    for number in range(_BATCHES):
        file = folder / f"batch-{number}.parquet"
        write_rows(file, rows, seed=number + 1)
        steps = _STEPS if number in (0, _BATCHES - 1) else ("every",)
        costs.append({step: cost(step, folder / "in-batches", file) for step in steps})
        file.unlink()
    return costs


def at_once(folder: Path, rows: int) -> dict[str, list[Cost]]:
    """What one batch costs, and the checks by hand; each turn of a validation is followed by one of the others."""
    file, home = folder / "rows.parquet", folder / "at-once"
    write_rows(file, rows)
    costs: dict[str, list[Cost]] = {"ingest": [cost("ingest", home, file)]}
    for _ in range(_TURNS):
        for way in ("validation", "DuckDB", "Polars"):
            costs.setdefault(way, []).append(cost(way, home, file))
    return costs | {step: [cost(step, home, file)] for step in ("admission", "snapshot")}


def lines(rows: int, batches: list[dict[str, Cost]], whole: dict[str, list[Cost]]) -> Iterator[str]:
    first, last = batches[0], batches[-1]
    yield f"| step | the first {rows // _BATCHES:,} rows: s, MB | the tenth: s, MB | {rows:,} rows at once: s, MB |"
    yield "| --- | --- | --- | --- |"
    for way, turns in whole.items():
        in_turn = [f"{costs[way].seconds:,.1f}, {costs[way].memory_mb:,.0f}" if way in costs else ""
                   for costs in (first, last)]  # fmt: skip
        yield f"| {way} | {in_turn[0]} | {in_turn[1]} | {_seconds(turns)}, {_memory(turns):,.0f} |"
    yield ""
    pairs = zip(whole["validation"], whole["DuckDB"], strict=True)
    yield page.target(
        "validation over DuckDB by hand", float(np.median([a.seconds / b.seconds for a, b in pairs])), 3.0
    )
    for step in _STEPS:
        yield page.target(
            f"memory of {step}, over that of a tenth of the rows", _memory(whole[step]) / first[step].memory_mb, 2
        )
    totals = [sum(costs[step].seconds for step in _STEPS) for costs in (first, last)]
    yield page.target("the tenth batch over the first, all steps", totals[1] / totals[0], 1.1)


def _seconds(turns: list[Cost]) -> str:
    seconds = [turn.seconds for turn in turns]
    spread = f" ({min(seconds):,.1f} to {max(seconds):,.1f})" if len(seconds) > 1 else ""
    return f"{np.median(seconds):,.1f}{spread}"


def _memory(turns: list[Cost]) -> float:
    return max(turn.memory_mb for turn in turns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    parser.add_argument("--do", default="", help="do one step in this process; used by this command itself")
    parser.add_argument("--file", type=Path, help="and its rows")
    options = parser.parse_args()
    if options.do:
        work = do(options.do, recipe(options.file.with_name(_BENCHMARK)), options.file)
        print(json.dumps(vars(measured(work))))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_rows(folder / _BENCHMARK, 3000)
        batches, whole = in_batches(folder, options.rows // _BATCHES), at_once(folder, options.rows)
    import duckdb
    import polars

    versions = f"DuckDB {duckdb.__version__}, Polars {polars.__version__}"
    content = [f"{page.machine()}, {versions}, {_TURNS} turns of what has a spread:", ""]
    content += lines(options.rows, batches, whole)
    print("\n".join(content))
    if options.write:
        page.write("bench-data", content)


if __name__ == "__main__":
    main()
