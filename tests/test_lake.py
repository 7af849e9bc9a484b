"""A batch lands exactly once, every record ends somewhere, and a snapshot is what its fingerprint says."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from deltalake import DeltaTable
from hypothesis import given
from hypothesis import strategies as st

from commands import show, withdraw
from ratchet import files, progress
from ratchet.errors import Refusal
from ratchet.lake import ingest, quarantine, records, seen, snapshot, split, table
from ratchet.lake.rows import Rows
from ratchet.recipe import Recipe
from ratchet.settings import settings
from ratchet.tasks.classification import Classification
from ratchet.types import Snapshot

Pictures = tuple[np.ndarray, np.ndarray]


def npz(path: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    np.savez(path, x=images, y=labels)
    return path.with_suffix(".npz") if path.suffix != ".npz" else path


def admitted(recipe: Recipe, path: Path) -> str:
    batch = ingest.land(recipe, path, "test")
    quarantine.admit_landed(ingest.lake(recipe.name), batch.id, "test")
    return batch.id


def rows(recipe: Recipe, name: str) -> int:
    rows = table.read(ingest.lake(recipe.name) / name)
    return 0 if rows is None else rows.num_rows


def test_the_same_file_twice_adds_nothing(small: Recipe, pictures: Pictures, tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz", pictures[0][:50], pictures[1][:50])
    first = ingest.land(small, path, "test")
    again = ingest.land(small, path.rename(tmp_path / "other-name"), "test")
    assert (first.new, first.accepted, again.new, again.accepted) == (True, 50, False, 50)
    assert rows(small, "landing") == 50


def test_a_batch_of_which_every_record_was_refused_lands_again_when_its_cause_is_corrected(
    small: Recipe, pictures: Pictures, tmp_path: Path
) -> None:
    path, home = tmp_path / "a.parquet", ingest.lake(small.name)
    columns = {"image": pictures[0][:20].reshape(20, -1).tolist(), "label": pictures[1][:20].astype(float)}
    pq.write_table(pa.table(columns), path)
    for _ in range(2):
        assert ingest.land(small, path, "test").accepted == 0
        entries = quarantine.entries(home)
        assert sum(entry.rows for entry in entries) == 20, "refused again, and not listed twice"
        assert all(entry.reason.endswith("write whole numbers, or names") for entry in entries)
        assert not quarantine.pending(home)
        assert ingest.is_first_due(small)
    with pytest.raises(Refusal, match=r"is in quarantine .*decimal number.*ingest it again"):
        snapshot.take(small)
    corrected = replace(small, task=Classification(tuple(f"{i}.0" for i in range(10)), numbered=True))
    assert ingest.land(corrected, path, "test").accepted == 20
    assert quarantine.entries(home) == []
    assert (ingest.land(corrected, path, "test").new, rows(small, "landing")) == (False, 20)


@pytest.mark.parametrize("bytes_", [1, 3000])
def test_a_batch_larger_than_a_part_moves_as_one_that_is_not(
    bytes_: int, small: Recipe, pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part holds one image, or three; the records, their fingerprint and what is withdrawn are the same."""
    path, other = npz(tmp_path / "a.npz", pictures[0][:60], pictures[1][:60]), replace(small, name="whole")
    admitted(other, path)
    whole = snapshot.take(other)
    monkeypatch.setattr("ratchet.lake.rows._BYTES", bytes_)
    batch = admitted(small, path)
    parts = table.rows(ingest.lake(small.name) / "records")
    assert parts is not None
    assert sum(1 for _ in parts.parts()) >= 20
    assert snapshot.take(small).fingerprint == whole.fingerprint
    assert quarantine.withdraw(ingest.lake(small.name), batch, "wrong", "test") == (60, True)
    assert quarantine.admit(ingest.lake(small.name), batch, "test", "right after all") == 60
    assert snapshot.take(small).fingerprint == whole.fingerprint


def test_what_refuses_rows_while_they_are_written_is_named_and_not_the_disk(tmp_path: Path) -> None:
    def parts() -> Iterator[pa.RecordBatch]:
        raise Refusal("a file of the table cannot be read", "part-7", "Restore it")
        yield

    with pytest.raises(Refusal, match="a file of the table cannot be read"):
        table.append(tmp_path / "t", Rows(pa.schema({"x": pa.int64()}), parts), once="one")


def test_a_record_is_shown_by_the_beginning_of_its_digest(small: Recipe, pictures: Pictures, tmp_path: Path) -> None:
    admitted(small, npz(tmp_path / "a.npz", pictures[0][:50], pictures[1][:50]))
    kept = table.read(ingest.lake(small.name) / "records")
    assert kept is not None
    row = kept.to_pylist()[7]
    record = records.find(small, row["record"][:16])
    assert (record.record, record.label, record.batch) == (
        row["record"],
        small.answers.classes[row["label"]],
        row["batch"],
    )
    assert record.side in ("train", "validation", "test")
    assert record.rendered.startswith("data:image/png;base64,")
    evaluated = ingest.benchmark(small)["record"][3].as_py()
    assert records.find(small, evaluated).side == "benchmark"
    shown = CliRunner().invoke(show.command, [small.name, row["record"][:16], "-o", str(tmp_path / "a.png")])
    assert shown.exit_code == 0, shown.output
    assert small.answers.classes[row["label"]] in shown.output
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    for wrong in ("12", "zzzz", "f" * 64, "../../x"):
        with pytest.raises(Refusal):
            records.find(small, wrong)


LAND = "import sys; from pathlib import Path; from ratchet import recipe; from ratchet.lake import ingest\n"
LAND += "print(ingest.land(recipe.load('small-fashion'), Path(sys.argv[1]), 'test').new)"


def test_the_first_batch_of_a_recipe_lands_although_another_waits_but_not_after_one_was_admitted(
    small: Recipe, pictures: Pictures, tmp_path: Path
) -> None:
    assert ingest.is_first_due(small)
    path = npz(tmp_path / "a.npz", pictures[0][:50], pictures[1][:50])
    batch = ingest.land(small, path, "test")
    assert ingest.is_first_due(small), "a batch that waits is no reason to leave out the recipe's own"
    quarantine.admit_landed(ingest.lake(small.name), batch.id, "test")
    assert not ingest.is_first_due(small)


def test_a_batch_that_was_ingested_by_mistake_is_taken_back_before_its_validation(
    small: Recipe, pictures: Pictures, tmp_path: Path
) -> None:
    batch = ingest.land(small, npz(tmp_path / "a.npz", pictures[0][:50], pictures[1][:50]), "test")
    done = CliRunner().invoke(withdraw.command, [small.name, batch.id, "--why", "by mistake"])
    assert "50 records withdrawn before their validation" in done.output
    home = ingest.lake(small.name)
    assert quarantine.pending(home) == []
    (entry,) = quarantine.entries(home)
    assert (entry.kind, entry.rows, entry.reason) == ("batch", 50, "withdrawn: by mistake")


def test_a_long_ingest_says_how_far_it_is(
    small: Recipe, pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SECONDS", 0.0)
    lines: list[str] = []
    path = npz(tmp_path / "a.npz", np.concatenate([pictures[0], pictures[0] // 2]), np.tile(pictures[1], 2))
    ingest.land(small, path, "test", lines.append)
    checked = [line for line in lines if "checked" in line]  # on a slow machine, reading takes seconds, too
    assert checked == ["4,096 of 6,000 records are checked", "6,000 of 6,000 records are checked"]


def test_several_at_the_same_moment_land_it_once(small: Recipe, pictures: Pictures, tmp_path: Path) -> None:
    ingest.benchmark(small)
    paths = [
        npz(tmp_path / f"{i}.npz", pictures[0][i * 40 : i * 40 + 40], pictures[1][i * 40 : i * 40 + 40]) for i in (0, 1)
    ]
    running = [
        subprocess.Popen([sys.executable, "-c", LAND, str(path)], stdout=subprocess.PIPE, text=True)
        for path in paths * 3
    ]
    outputs = [p.communicate()[0].strip() for p in running]
    assert sorted(outputs) == ["False"] * 4 + ["True"] * 2
    assert rows(small, "landing") == 80


def race(job: tuple[str, int]) -> bool:
    path, which = job
    return table.append(Path(path), pa.table({"x": [which] * 10}), once=f"land:{which}")


def test_what_was_admitted_is_known_without_reading_it_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, chance = tmp_path / "records", np.random.default_rng(4)
    batches = {name: [chance.bytes(32).hex() for _ in range(300)] for name in "abcd"}
    for name, digests in batches.items():
        rows = pa.table({"input": [None, *digests], "batch": [name] * 301})
        table.append(path, rows, once=name)
    table.delete(path, {"batch": "b"})
    wanted = [*batches["a"], *batches["b"], *batches["d"], *(chance.bytes(32).hex() for _ in range(300))]
    present = seen.among(path, seen.keys([pa.array(wanted)]))
    assert present.tolist() == [True] * 300 + [False] * 300 + [True] * 300 + [False] * 300
    (tmp_path / seen._FOLDER / "records" / "of-no-file.npy").touch()
    seen.prune(path)
    assert len(kept(path)) == 3, "one for each file of the newest version"
    monkeypatch.setattr(table, "_parts", lambda *_: pytest.fail("a file of the table is read"))
    assert (seen.among(path, seen.keys([pa.array(wanted)])) == present).all()


def kept(path: Path) -> list[Path]:
    """The files with the keys of a table."""
    return sorted((path.parent / seen._FOLDER / path.name).iterdir())


@pytest.mark.parametrize("size", [0, 10, -3])
def test_broken_keys_are_computed_again(tmp_path: Path, size: int) -> None:
    path, digest = tmp_path / "records", "ab" * 32
    table.append(path, pa.table({"input": [digest]}), once="a")
    key = seen.keys([pa.array([digest])])
    assert seen.among(path, key).all()
    (file,) = kept(path)
    whole = file.read_bytes()
    file.write_bytes(whole[:size])
    assert seen.among(path, key).all()
    assert file.read_bytes() == whole


def test_keys_that_cannot_be_kept_are_computed_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, digest = tmp_path / "records", "ab" * 32
    table.append(path, pa.table({"input": [digest]}), once="a")
    (tmp_path / seen._FOLDER).touch()  # so that there can be no such folder
    for _ in range(2):
        assert seen.among(path, seen.keys([pa.array([digest])])).all()


def test_keys_of_rows_that_are_erased_while_they_are_read_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, digest, replace_file = tmp_path / "records", "ab" * 32, files.replace
    table.append(path, pa.table({"input": [digest]}), once="a")

    def erased_before(file: Path, content: bytes) -> None:
        table.erase(path, f"input = '{digest}'", pc.field("input") == digest, ["input"])
        seen.prune(path)
        replace_file(file, content)

    monkeypatch.setattr(files, "replace", erased_before)
    seen.among(path, seen.keys([pa.array([digest])]))
    assert kept(path) == []


@pytest.mark.parametrize("compacted", [False, True])
def test_the_rows_with_a_value_are_read_and_no_part_that_cannot_hold_any(tmp_path: Path, compacted: bool) -> None:
    path = tmp_path / "records"
    for name in "abc":
        table.append(path, pa.table({"batch": [name] * 3 + ["shared"], "number": range(4)}), once=name, versions=False)
    if compacted:
        DeltaTable(str(path)).optimize.compact()
    for name, count in (("a", 3), ("b", 3), ("c", 3), ("shared", 3), ("absent", 0), ("", 0)):
        rows = table.read(path, ["number"], where=("batch", name))
        assert rows is not None
        assert rows.num_rows == count
    for file in path.glob("*.parquet"):
        assert table._row_groups(pq.ParquetFile(file).metadata, ("batch", "zzz")) == [], "beyond all values"


def test_files_of_the_lake_are_compressed_in_groups_of_bounded_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "_ROW_GROUP", 100)
    table.append(tmp_path / "t", pa.table({"text": ["a" * 1000] * 250}), once="1")
    (file,) = (tmp_path / "t").glob("*.parquet")
    metadata = pq.read_metadata(file)
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    assert [group.num_rows for group in groups] == [100, 100, 50]
    column = groups[0].column(0)
    assert column.compression == "SNAPPY"
    assert not column.statistics.has_min_max or len(column.statistics.max) <= 64


def test_a_commit_happens_once_however_many_race_for_it(tmp_path: Path) -> None:
    with ProcessPoolExecutor(6, mp_context=multiprocessing.get_context("spawn")) as pool:
        for round_ in range(15):
            path = tmp_path / str(round_)
            done = list(pool.map(race, [(str(path), which) for which in (0, 1)] * 6))
            rows = table.read(path)
            assert rows is not None
            assert (sum(done), rows.num_rows) == (2, 20)


def test_a_year_of_commits_stays_readable(tmp_path: Path) -> None:
    """Delta makes a checkpoint at every hundredth commit and drops what is older than a month, unless told so."""
    path, rows = tmp_path / "t", pa.table({"a": [1]})
    for number in range(3):
        table.append(path, rows, f"land:{number}")
    old = time.time() - 400 * 86400
    for commit in (path / "_delta_log").glob("*.json"):
        os.utime(commit, (old, old))
    for number in range(3, 105):
        table.append(path, rows, f"land:{number}")
    assert len([c for c in table.history(path) if c.get("ratchet")]) == 105
    read = table.read(path, version=2)
    assert read is not None
    assert read.num_rows == 2


@pytest.mark.parametrize("there", ["tmp/*/rows.arrow", "lake/*/quarantine", "lake/*/quarantine/_delta_log/*1.json",
                                   "lake/*/landing", "lake/*/landing/*.parquet"])  # fmt: skip
def test_a_killed_ingest_is_finished_by_the_next(
    there: str, home: Path, small: Recipe, pictures: Pictures, tmp_path: Path
) -> None:
    ingest.benchmark(small)
    labels = pictures[1][:500].astype(int)
    labels[:7] = 99
    path = npz(tmp_path / "a.npz", pictures[0][:500], labels)
    process = subprocess.Popen(
        [sys.executable, "-c", LAND, str(path)], stdout=subprocess.DEVNULL, start_new_session=True
    )
    while not any(home.glob(there)):
        assert process.poll() is None, "it ended before it came so far"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    ingest.land(small, path, "test")
    assert (rows(small, "landing"), rows(small, "quarantine")) == (493, 7)


def test_accepted_plus_quarantined_is_what_came_in(small: Recipe, pictures: Pictures, tmp_path: Path) -> None:
    images, labels = pictures[0][:60], pictures[1][:60].astype(int)
    labels[3] = 10
    labels[4] = -1
    held, _ = snapshot.load_benchmark(small)
    images = np.concatenate([images, held.inputs[:5]])
    labels = np.concatenate([labels, held.targets[:5]])
    batch = ingest.land(small, npz(tmp_path / "a.npz", images, labels), "test")
    assert (batch.accepted, batch.quarantined) == (58, 7)
    reasons = {e.reason: e.rows for e in quarantine.entries(ingest.lake(small.name))}
    assert sum(n for reason, n in reasons.items() if "is an input of the benchmark set" in reason) == 5
    assert reasons["the label '10' is not one of the 10 classes"] == 1
    assert next(iter(batch.reasons.values())) == 5, "and the command says so, the commonest first"
    assert sum(batch.reasons.values()) == 7


def test_a_refused_file_is_kept_with_its_reason(small: Recipe, tmp_path: Path) -> None:
    path = tmp_path / "broken"
    path.write_bytes(b"\x7fELF nothing")
    for _ in range(2):
        with pytest.raises(Refusal, match="is in quarantine"):
            ingest.land(small, path, "test")
    (entry,) = quarantine.entries(ingest.lake(small.name))
    assert (entry.kind, entry.rows) == ("file", 1)
    assert (ingest.lake(small.name) / "refused" / entry.batch).read_bytes() == b"\x7fELF nothing"
    with pytest.raises(Refusal, match="can be admitted"):
        quarantine.admit(ingest.lake(small.name), entry.batch, "test", "why not")


def test_admitting_a_batch_leaves_its_refused_records_in_quarantine(
    small: Recipe, pictures: Pictures, tmp_path: Path
) -> None:
    home = ingest.lake(small.name)
    labels = pictures[1][:50].astype(int)
    labels[:7] = 99
    batch = ingest.land(small, npz(tmp_path / "a.npz", pictures[0][:50], labels), "test").id
    quarantine.refuse_landed(home, batch, "its suite failed", "test")
    assert quarantine.admit(home, batch, "me", "it is fine") == 43
    assert [(e.kind, e.rows) for e in quarantine.entries(home)] == [("record", 7)]


def test_a_file_over_the_limit_is_refused_before_it_is_read(
    small: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RATCHET_INGEST_DISK_MB", "1")
    settings.cache_clear()
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(Refusal, match="above the limit of 1"):
        ingest.land(small, tmp_path / "huge", "test")
    assert not (ingest.lake(small.name) / "refused").exists()
    with pytest.raises(Refusal, match="neither a file nor a folder"):
        ingest.land(small, Path("/dev/zero"), "test")


def test_a_withdrawn_batch_is_out_of_the_next_snapshot_and_can_come_back(
    small: Recipe, pictures: Pictures, tmp_path: Path
) -> None:
    home = ingest.lake(small.name)
    one = admitted(small, npz(tmp_path / "a.npz", pictures[0][:50], pictures[1][:50]))
    before = snapshot.take(small)
    two = admitted(small, npz(tmp_path / "b.npz", pictures[0][50:90], pictures[1][50:90]))
    both = snapshot.take(small)
    assert quarantine.withdraw(home, two, "bad camera", "me") == (40, True)
    after = snapshot.take(small)
    assert (after.fingerprint, after.batches) == (before.fingerprint, (one,))
    assert before.version < both.version < after.version
    assert table.history(home / "records")[0]["who"] == "me"
    assert sum(len(s) for s in snapshot.load(small, both).values()) == 90, "the old snapshot stays readable"
    assert quarantine.admit(home, two, "me", "it was fine") == 40
    assert snapshot.take(small).fingerprint == both.fingerprint
    assert not quarantine.entries(home)


def test_a_dropped_batch_is_off_the_list_and_in_the_history(small: Recipe, pictures: Pictures, tmp_path: Path) -> None:
    home = ingest.lake(small.name)
    batch = ingest.land(small, npz(tmp_path / "a.npz", pictures[0][:20], pictures[1][:20]), "test")
    quarantine.refuse_landed(home, batch.id, "its suite failed", "test")
    assert not quarantine.pending(home)
    before = table.version(home / "quarantine")
    assert quarantine.drop(home, batch.id, "me", "not needed") == 20
    assert not quarantine.entries(home)
    old = table.read(home / "quarantine", version=before)
    assert old is not None
    assert old.num_rows == 20


def test_a_record_stands_on_one_side_whatever_its_label(small: Recipe, pictures: Pictures, tmp_path: Path) -> None:
    admitted(small, npz(tmp_path / "a.npz", pictures[0], pictures[1]))
    one = snapshot.load(small, snapshot.take(small))
    corrected = (pictures[1].astype(int) + 1) % 10
    admitted(small, npz(tmp_path / "b.npz", pictures[0], corrected))
    two = snapshot.load(small, snapshot.take(small))
    for side in ("train", "validation", "test"):
        images = {i.tobytes() for i in two[side].inputs}
        assert images == {i.tobytes() for i in one[side].inputs}
        assert len(two[side]) == 2 * len(one[side])


def test_half_of_the_data_cannot_change_under_a_fingerprint(small: Recipe, pictures: Pictures, tmp_path: Path) -> None:
    admitted(small, npz(tmp_path / "a.npz", pictures[0][:200], pictures[1][:200]))
    taken = snapshot.take(small)
    table.delete(
        ingest.lake(small.name) / "records",
        {"record": table.read(ingest.lake(small.name) / "records")["record"][150].as_py()},
    )
    assert snapshot.take(small).fingerprint != taken.fingerprint
    newer = Snapshot(**{**vars(taken), "version": snapshot.take(small).version})
    with pytest.raises(Refusal, match="not those of the snapshot"):
        snapshot.load(small, newer)


digests = st.integers(0, 2**256 - 1).map(lambda n: f"{n:064x}")


def fingerprint(records: list[str]) -> str:
    half = len(records) // 2
    return ingest.fingerprint([pa.array(records[:half], pa.string()), pa.array(records[half:], pa.string())])


@given(st.lists(digests, min_size=1), st.randoms())
def test_a_fingerprint_knows_every_record_and_no_order(records: list[str], random: object) -> None:
    shuffled = list(records)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert fingerprint(records) == fingerprint(shuffled)
    assert fingerprint(records) == hashlib.sha256("\n".join(sorted(records)).encode()).hexdigest()
    assert fingerprint(records) != fingerprint([*records, records[0]])
    assert fingerprint(records) != fingerprint(records[1:])


@given(digests)
def test_a_side_is_a_function_of_the_digest(digest: str) -> None:
    assert split.side(digest) in ("train", "validation", "test")


def test_the_split_is_ninety_five_five() -> None:
    import hashlib

    sides = [split.side(hashlib.sha256(str(i).encode()).hexdigest()) for i in range(20_000)]
    assert abs(sides.count("train") / 20_000 - 0.90) < 0.01
    assert abs(sides.count("validation") / 20_000 - 0.05) < 0.01


@given(st.lists(st.tuples(st.integers(0, 9), digests), max_size=30, unique_by=lambda row: row[1]),
       st.integers(0, 12), st.integers(0, 12))  # fmt: skip
def test_a_window_holds_the_newest_records_and_some_older_ones_in_the_same_order(
    rows: list[tuple[int, str]], recent: int, replay: int
) -> None:
    rows = sorted(rows, key=lambda row: row[1])
    table_ = pa.table({"captured_at": pa.array([at for at, _ in rows], pa.int64()), "record": [d for _, d in rows]})
    kept = split.window(table_, recent, replay)["record"].to_pylist()
    assert kept == sorted(kept)
    if not recent:
        assert len(kept) == len(rows)
        return
    assert len(kept) == min(len(rows), recent + replay)
    newest = {digest for _, digest in sorted(rows, key=lambda row: (-row[0], row[1]))[:recent]}
    assert newest <= set(kept)
    older = sorted(digest for _, digest in rows if digest not in newest)
    assert set(kept) - newest == set(older[:replay])


def test_a_training_sees_its_window_and_the_other_sides_stay_whole(
    small: Recipe, pictures: Pictures, tmp_path: Path
) -> None:
    admitted(small, npz(tmp_path / "a.npz", pictures[0][:200], pictures[1][:200]))
    taken = snapshot.take(small)
    whole, windowed = (
        snapshot.load(small, taken, training=replace(small.training, recent=recent, replay=20)) for recent in (0, 50)
    )
    assert len(windowed["train"]) == 70 < len(whole["train"])
    assert [len(windowed[side]) for side in ("validation", "test")] == [
        len(whole[side]) for side in ("validation", "test")
    ]


def test_what_drift_is_measured_from_are_the_batches_of_the_newest_records(
    small: Recipe, pictures: Pictures, tmp_path: Path
) -> None:
    for start in (0, 100, 200):
        source = npz(tmp_path / f"{start}.npz", pictures[0][start : start + 100], pictures[1][start : start + 100])
        admitted(small, source)
    taken = snapshot.take(small)
    spans = snapshot.spans(small, taken.batches)
    oldest, *others = sorted(spans, key=lambda batch: spans[batch])
    assert snapshot.of_newest(small, taken.batches, 150) == sorted(others)
    assert snapshot.of_newest(small, taken.batches, 1000) == sorted([oldest, *others])
    assert snapshot.of_newest(small, ["withdrawn"], 10) == []


def test_a_damaged_file_of_a_table_is_a_sentence(small: Recipe, pictures: Pictures, tmp_path: Path) -> None:
    admitted(small, npz(tmp_path / "a.npz", pictures[0][:50], pictures[1][:50]))
    (kept,) = (ingest.lake(small.name) / "records").glob("*.parquet")
    kept.write_bytes(kept.read_bytes()[:-50])
    with pytest.raises(Refusal, match="cannot be read"):
        snapshot.take(small)


def test_a_source_that_cannot_be_read_is_refused_before_a_benchmark_is_built(small: Recipe, tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_bytes(b"\0\1\2")
    with pytest.raises(Refusal, match="the format of the file is unknown"):
        ingest.land(small, path, "test")
    assert not list(ingest.lake(small.name).glob("benchmark-*"))
