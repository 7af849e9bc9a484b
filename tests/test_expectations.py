"""A batch is admitted when its suite passes; a suite that checked nothing has failed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from expectations import checkpoint, statistics
from expectations.suite import suite
from ratchet import recipe as recipes
from ratchet.expectation import Expectation
from ratchet.lake import ingest
from ratchet.recipe import Recipe
from ratchet.types import SuiteResult

Pictures = tuple[np.ndarray, np.ndarray]


def check(recipe: Recipe, tmp_path: Path, images: np.ndarray, labels: np.ndarray) -> SuiteResult:
    path = tmp_path / "batch.npz"
    np.savez(path, x=images, y=labels)
    batch = ingest.land(recipe, path, "test")
    frame = statistics.of_batch(recipe, ingest.lake(recipe.name), batch.id)
    return checkpoint.check(recipe.name, batch.id, frame, suite(recipe))


def failed(result: SuiteResult) -> set[str]:
    return {e.column for e in result.expectations if not e.passed}


def test_a_good_batch_passes_and_data_docs_are_built(small: Recipe, pictures: Pictures, tmp_path: Path) -> None:
    result = check(small, tmp_path, *pictures)
    assert result.passed, result.why
    assert (result.rows, len(result.expectations)) == (3000, 12)
    assert "small-fashion" in Path(result.docs).read_text()


def test_blank_and_constant_images_are_named(small: Recipe, pictures: Pictures, tmp_path: Path) -> None:
    images = pictures[0].copy()
    images[7] = 0
    images[8] = 255
    result = check(small, tmp_path, images, pictures[1])
    assert failed(result) == {"deviation"}
    bad = next(e for e in result.expectations if not e.passed)
    assert len(bad.records) == 2
    assert "2 of 3000" in result.why


def test_a_missing_or_rare_class_fails(small: Recipe, pictures: Pictures, tmp_path: Path) -> None:
    few = (pictures[1] != 3) | (np.cumsum(pictures[1] == 3) < 5)
    assert failed(check(small, tmp_path, pictures[0][few], pictures[1][few])) == {"class_share"}
    none = pictures[1] != 3
    assert failed(check(small, tmp_path, pictures[0][none], pictures[1][none])) == {"label"}


def test_duplicates_within_and_across_batches_fail(small: Recipe, pictures: Pictures, tmp_path: Path) -> None:
    from ratchet.lake import quarantine

    images = pictures[0].copy()
    images[:40] = images[41]
    assert failed(check(small, tmp_path, images, pictures[1])) == {"duplicate"}
    path = tmp_path / "first.npz"
    np.savez(path, x=pictures[0], y=pictures[1])
    quarantine.admit_landed(ingest.lake(small.name), ingest.land(small, path, "test").id, "test")
    assert failed(check(small, tmp_path, pictures[0][::-1], pictures[1][::-1])) == {"duplicate"}


def test_too_few_rows_fail(small: Recipe, pictures: Pictures, tmp_path: Path) -> None:
    assert failed(check(small, tmp_path, pictures[0][:60], pictures[1][:60])) == {""}


@pytest.mark.parametrize("days", [400, -30])
def test_old_batches_and_those_from_the_future_fail(
    days: int, small: Recipe, pictures: Pictures, tmp_path: Path
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    when = [datetime.now(UTC) - timedelta(days=days)] * 3000
    table = pa.table(
        {"image": [i.ravel().tolist() for i in pictures[0]], "label": pictures[1].astype(int), "captured_at": when}
    )
    pq.write_table(table, tmp_path / "b.parquet")
    batch = ingest.land(small, tmp_path / "b.parquet", "test")
    frame = statistics.of_batch(small, ingest.lake(small.name), batch.id)
    assert failed(checkpoint.check(small.name, batch.id, frame, suite(small))) == {"age_days"}


def good_frame(small: Recipe, rows: int = 200) -> pd.DataFrame:
    values = {c: [1.0] * rows for c in statistics.columns(small)}
    return pd.DataFrame({**values, "record": ["r"] * rows})


def test_nothing_of_requests_that_were_served_is_shown_by_their_suite(small: Recipe, home: Path) -> None:
    """Nor is it kept in Data Docs, where nobody could forget it."""
    frame = good_frame(small)
    frame.loc[0, "mean"] = 777.25
    expectations = (
        Expectation("ExpectColumnValuesToBeBetween", {"column": "mean", "max_value": 10}, "at most 10", "mean"),
        Expectation("ExpectColumnDistinctValuesToBeInSet", {"column": "record", "value_set": ["x"]}, "is x", "record"),
    )
    shown = checkpoint.check("small-fashion", "a", frame, expectations)
    hidden = checkpoint.check("small-fashion", "b", frame, expectations, keep=False, show=False)
    assert "777.25" in str(shown)
    assert "'r'" in str(shown)
    assert [each.passed for each in hidden.expectations] == [each.passed for each in shown.expectations]
    assert "777.25" not in str(hidden)
    assert "'r'" not in [each.observed for each in hidden.expectations]
    kept = [path.read_bytes() for path in (home / "gx").rglob("*.html")]
    assert kept
    assert not any(b"small-fashion-b" in page for page in kept)


def test_a_suite_that_checked_nothing_has_failed(small: Recipe) -> None:
    assert not checkpoint.check("small-fashion", "b", good_frame(small), ()).passed
    assert not checkpoint.check("small-fashion", "b", good_frame(small, 0), suite(small)).passed


def test_an_expectation_that_raised_has_failed(small: Recipe) -> None:
    missing = (Expectation("ExpectColumnMeanToBeBetween", {"column": "gone", "min_value": 0}, "is there", "gone"),)
    result = checkpoint.check("small-fashion", "b", good_frame(small), missing)
    assert not result.passed
    assert "gone" in result.why


def test_of_a_large_batch_a_sample_is_measured_and_every_label_is_counted(
    small: Recipe, pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez(tmp_path / "batch.npz", x=pictures[0][:400], y=np.where(np.arange(400) < 2, 1, 0))
    batch = ingest.land(small, tmp_path / "batch.npz", "test")
    monkeypatch.setattr(statistics, "SAMPLE", 50)
    few = replace(small, suite=replace(small.suite, min_rows=1))
    frame = statistics.of_batch(few, ingest.lake(small.name), batch.id)
    monkeypatch.undo()
    whole = statistics.of_batch(few, ingest.lake(small.name), batch.id)
    assert (len(frame), len(whole)) == (50, 400)
    assert set(frame["class_share"]) <= {398 / 400, 2 / 400}, "of all records, and not of the sample"
    same = whole.set_index("record").loc[frame["record"]]
    for column in set(frame.columns) - {"record", "age_days"}:
        assert same[column].tolist() == frame[column].tolist()


def test_a_series_is_measured_whole_since_a_sample_would_be_full_of_gaps(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipes.load("sf-temperature")
    start = datetime(2024, 1, 1, tzinfo=UTC)
    times = [start + timedelta(seconds=recipe.contract.step * n) for n in range(300)]
    records = pa.table({
        "record": [f"{n:064x}" for n in range(300)], "input": [f"{n * 7919 % 2**61:064x}" for n in range(300)],
        "label": pa.nulls(300), "captured_at": pa.array(times, pa.timestamp("us", "UTC")), "value": [60.0] * 300,
    })  # fmt: skip
    monkeypatch.setattr(statistics, "SAMPLE", 50)
    frame = statistics.of_records(replace(recipe, suite=replace(recipe.suite, min_rows=1)), records)
    assert len(frame) == 300
    assert set(frame["steps_after"]) == {1.0}
