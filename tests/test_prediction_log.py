"""The log of predictions: what is asked to be logged is written, or counted as lost, whatever happens."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bentos import prediction_log, segments
from bentos.caller import CALLER, Caller, caller_of, subject_digest
from bentos.prediction_log import PredictionLog, Rules
from ratchet import kinds
from ratchet.contract import Contract
from ratchet.kinds.image import ImageContract
from ratchet.kinds.table import Column, TableContract
from ratchet.kinds.text import TextContract
from ratchet.settings import ROOT

TEXTS = TextContract(max_characters=100, max_tokens=8, vocabulary_size=10)
LIMIT = 64 << 20


def log_in(folder: Path, contract: Contract = TEXTS, limit: int = LIMIT, **rules: Any) -> PredictionLog:
    return PredictionLog(folder, limit, contract, kinds.part(contract.kind, "logged"), Rules(**rules), "v1-abc")


def add(log: PredictionLog, inputs: Any, caller: Caller | None = None, outputs: np.ndarray | None = None) -> None:
    token = CALLER.set(caller or Caller("one"))
    log.add(inputs, np.tile(np.float32([0.25, 0.75]), (len(inputs), 1)) if outputs is None else outputs)
    CALLER.reset(token)


def lines(folder: Path, kind: str = "predictions") -> list[dict[str, Any]]:
    names = [name for name in segments.complete(folder) if name.startswith(kind)]
    return [json.loads(line) for name in names for line in (folder / name).read_bytes().splitlines()]


def texts(*values: str) -> np.ndarray:
    return np.array(values, object)


def test_a_row_has_who_when_what_was_answered_and_what_the_input_was_like(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    add(log, texts("free money now", "hello"), Caller("one", "5ub", "caller"))
    log.complete_segments()
    first, second = lines(tmp_path)
    assert (first["request"], first["row"], first["subject"], first["origin"]) == ("one", 0, "5ub", "caller")
    assert (first["revision"], first["output"], second["row"]) == ("v1-abc", [0.25, 0.75], 1)
    assert first["statistics"] == {"characters": 14, "words": 3, "unprintable": 0}
    assert abs(first["at"] - time.time()) < 60
    assert [first["number"], second["number"]] == [0, 1]
    assert "input" not in first, "the recipe does not allow it"


@pytest.mark.parametrize(
    ("contract", "values", "redact", "left"),
    [
        (TEXTS, ["write to ann@example.org"], (r"\S+@\S+",), ["write to █"]),
        (
            TableContract((Column("age", "integer", missing=1.0), Column("city", "category", missing=1.0)), "x"),
            [{"age": 3, "city": "Ulm"}],
            ("age",),
            [{"age": None, "city": "Ulm"}],
        ),
        (ImageContract(1, 2), [[[7, 200]]], (), [[[7, 200]]]),
    ],
)
def test_an_input_is_kept_only_where_the_recipe_allows_it_and_without_what_it_redacts(
    contract: Contract, values: list[Any], redact: tuple[str, ...], left: list[Any], tmp_path: Path
) -> None:
    import base64

    log = log_in(tmp_path, contract, inputs=True, redact=redact)
    add(log, contract.read(values))
    log.complete_segments()
    (line,) = lines(tmp_path)
    kept = contract.unpack(base64.b64decode(line["input"]), 1)
    assert contract.values(kept) == left
    if redact:
        assert "ann@" not in json.dumps(line)
        assert line["statistics"].get("age") is None, "not in the statistics either"


def test_requests_without_an_id_are_not_logged_and_a_sample_takes_whole_requests(tmp_path: Path) -> None:
    log = log_in(tmp_path, sample=0.3)
    add(log, texts("nobody"), Caller(""))
    for number in range(400):
        add(log, texts("a", "b"), Caller(f"id {number}"))
    log.complete_segments()
    rows = [(line["request"], line["row"]) for line in lines(tmp_path)]
    assert 400 * 2 * 0.2 < len(rows) < 400 * 2 * 0.4
    assert {request for request, row in rows if row == 0} == {request for request, row in rows if row == 1}
    other = log_in(tmp_path / "other", sample=0.3)
    for number in range(400):
        add(other, texts("a", "b"), Caller(f"id {number}"))
    other.complete_segments()
    assert [(line["request"], line["row"]) for line in lines(tmp_path / "other")] == rows, "on every host the same"


@pytest.mark.parametrize(
    ("headers", "origin"),
    [
        ({b"host": b"example.org:8080"}, "caller"),
        ({b"host": b"example.org-shadow:8080"}, "shadow"),
        ({b"host": b"example.org-shadow"}, "shadow"),
        ({b"host": b"example.org", b"x-ratchet-own": b"token"}, "own"),
        ({b"host": b"example.org", b"x-ratchet-own": b"1"}, "caller"),
        ({b"host": b"example.org", b"x-ratchet-own": b""}, "caller"),
    ],
)
def test_shadow_answers_and_ratchets_own_requests_are_marked(headers: dict[bytes, bytes], origin: str) -> None:
    caller = caller_of({b"x-request-id": b"one", **headers}, "spam", "token")
    assert (caller.id, caller.origin, caller.subject) == ("one", origin, "")


@pytest.mark.parametrize("subject", ["Ann", "Jürgen", "安"])
def test_a_subject_is_known_by_a_digest_that_differs_from_recipe_to_recipe(subject: str) -> None:
    caller = caller_of({b"x-subject-id": subject.encode()}, "spam", "token")
    assert caller.subject == subject_digest("spam", subject) != subject_digest("ham", subject)
    assert "Ann" not in repr(caller)


def test_what_does_not_fit_into_the_queue_is_counted_as_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_log, "_PAUSE", 60.0)
    log = log_in(tmp_path)
    for _ in range(5):
        add(log, texts(*["a"] * 1024))
    (writer,) = segments.writers(tmp_path)
    assert (writer.alive, writer.taken, writer.lost) == (True, 5 * 1024, 1024)
    log.complete_segments()
    add(log, texts("again"))
    log.complete_segments()
    assert len(lines(tmp_path)) == 4 * 1024 + 1, "there is room again"


def test_a_full_disk_loses_rows_that_are_counted_and_feedback_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, full = os.write, False

    def fails(file: int, data: Any) -> int:
        if full and len(data) > 10:
            return write(file, data[:10])  # some of a line still fits
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data)

    log = log_in(tmp_path)
    add(log, texts("before"))
    log.complete_segments()
    monkeypatch.setattr(segments.os, "write", fails)
    full = True
    add(log, texts("lost", "lost"))
    log.complete_segments()
    with pytest.raises(Exception, match=r"No space left on device.*Send it again later"):
        log.add_feedback([{"request": "one", "row": 0, "label": "spam"}])
    full = False
    add(log, texts("after"))
    log.add_feedback([{"request": "one", "row": 0, "label": "ham"}])
    log.complete_segments()
    assert [line["statistics"]["characters"] for line in lines(tmp_path)] == [6, 5], "no half line, and nothing twice"
    assert [line["label"] for line in lines(tmp_path, "feedback")] == ["ham"]
    (writer,) = segments.writers(tmp_path)
    assert (writer.taken, writer.lost) == (4, 2)


def test_the_log_stays_below_its_limit_until_it_is_collected(tmp_path: Path) -> None:
    log = log_in(tmp_path, limit=3 << 20)
    for _ in range(40):
        add(log, texts(*["long " * 20] * 1000))
        log.complete_segments()
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < (3 << 20) + 2 * segments.SEGMENT_BYTES
    (writer,) = segments.writers(tmp_path)
    assert 0 < writer.lost == writer.taken - len(lines(tmp_path))
    for name in segments.complete(tmp_path):
        (tmp_path / name).unlink()
    add(log, texts("again"))
    log.complete_segments()
    assert len(lines(tmp_path)) == 1


def test_the_millionth_segment_of_a_process_is_one_like_any_other(tmp_path: Path) -> None:
    """A process writes one every few seconds, so after two months it comes to that."""
    writer = segments.Segments(tmp_path, "predictions", "a" * 16, 1 << 30)
    writer._number = 999_999
    for _ in range(2):
        writer.write(b"line\n")
        writer.close()
    names = [f"predictions-{'a' * 16}-{number}.jsonl" for number in (999_999, 1_000_000)]
    assert segments.complete(tmp_path) == names
    assert all(segments.is_removable(tmp_path, name) for name in names)


_WRITES = """
import sys, time
from pathlib import Path
from tests import test_prediction_log as tests
log = tests.log_in(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    for number in range(50):
        tests.add(log, tests.texts("a", "b", "c"))
    time.sleep(0.01)
"""


def test_of_a_killed_process_every_row_is_in_a_segment_or_known_to_be_lost(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", _WRITES, str(tmp_path)], stdout=subprocess.PIPE, env=env, cwd=ROOT, text=True
    )
    assert process.stdout
    try:
        assert process.stdout.readline() == "ready\n"
        time.sleep(1.5)
        assert segments.writers(tmp_path)[0].alive
        assert not [name for name in segments.complete(tmp_path) if name.endswith("open")], "it still writes"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    (writer,) = segments.writers(tmp_path)
    assert not writer.alive
    whole = b"".join((tmp_path / name).read_bytes() for name in segments.complete(tmp_path))
    numbers = [json.loads(line)["number"] for line in whole.split(b"\n")[:-1]]
    assert 0 < len(numbers) <= writer.taken
    assert numbers == sorted(set(numbers)), "each once, in order"
    assert max(numbers) < writer.taken


@settings(max_examples=50, deadline=None)
@given(st.lists(st.one_of(st.integers(1, 40), st.just("close"), st.just("fail")), max_size=12))
def test_whatever_the_disk_does_a_segment_holds_whole_lines_and_each_once(steps: list[Any]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder, written, number = Path(name), [], 0
        out = segments.Segments(folder, "predictions", "0" * 16, LIMIT)
        patch.setattr(segments, "SEGMENT_BYTES", 200)
        for step in steps:
            if step == "close":
                out.close()
                continue
            data = b"".join(b"%d\n" % (number + i) for i in range(1 if step == "fail" else step))
            number += data.count(b"\n")
            write = os.write
            with pytest.MonkeyPatch.context() as broken:
                if step == "fail":

                    def half(file: int, part: Any, write: Any = write) -> int:
                        write(file, part[: len(part) // 2])
                        raise OSError(errno.ENOSPC, "full")

                    broken.setattr(segments.os, "write", half)
                    with pytest.raises(OSError, match="full"):
                        out.write(data)
                    continue
                out.write(data)
            written += data.splitlines()
        kept = [line for each in segments.complete(folder) for line in (folder / each).read_bytes().splitlines()]
        assert kept == written


def test_an_input_that_cannot_be_described_is_lost_and_the_log_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = log_in(tmp_path)
    monkeypatch.setattr(log._logged, "statistics", lambda *_: {}["nothing"])
    add(log, texts("bad", "bad"))
    log.complete_segments()
    monkeypatch.undo()
    add(log, texts("good"))
    log.complete_segments()
    assert [line["number"] for line in lines(tmp_path)] == [2]
    (writer,) = segments.writers(tmp_path)
    assert (writer.taken, writer.lost) == (3, 2)


def test_a_segment_that_cannot_be_completed_is_written_to_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of a closed file may soon be that of a caller's connection."""
    out = segments.Segments(tmp_path, "predictions", "0" * 16, LIMIT)
    out.write(b"one\n")
    with monkeypatch.context() as broken:
        broken.setattr(segments.Path, "rename", lambda *_: (_ for _ in ()).throw(OSError("no")))
        with pytest.raises(OSError, match="no"):
            out.close()
    reader, writer = os.pipe()
    out.write(b"two\n")
    out.close()
    os.close(writer)
    assert os.read(reader, 10) == b"", "nothing went into another file"
    os.close(reader)
    assert b"two\n" in b"".join((tmp_path / name).read_bytes() for name in segments.complete(tmp_path))


def test_a_segment_that_nobody_collects_is_removed_at_the_age_that_the_recipe_allows(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    for caller in ("old", "new"):
        add(log, texts("hello"), Caller(caller))
        log.complete_segments()
    old, new = segments.complete(tmp_path)
    day_ago = time.time() - 86400
    os.utime(tmp_path / old, (day_ago, day_ago))
    add(log, texts("hello"), Caller("now"))
    assert segments.expire(tmp_path, 3600) == 1
    assert segments.complete(tmp_path) == [new]
    assert segments.expire(tmp_path / "nothing", 0) == 0


@pytest.mark.skipif(not segments._MEMORY.is_dir(), reason="this system has no file system in memory")
def test_a_request_counts_in_memory_where_a_disk_that_stops_cannot_stop_it(tmp_path: Path) -> None:
    """A page of a file on a stopped disk cannot be written, and whoever tries holds Python's lock until it goes on."""
    log = log_in(tmp_path)
    (counts,) = tmp_path.glob("*.counts")
    mounts = [line.split()[:3] for line in Path("/proc/mounts").read_text().splitlines()]
    assert {kind for _, at, kind in mounts if at == "/dev/shm"} == {"tmpfs"}
    mapped = Path("/proc/self/maps").read_text()
    assert f"/dev/shm/ratchet-{os.getuid()}-{counts.stem}" in mapped
    assert str(counts) not in mapped
    add(log, texts("hello"))
    assert segments.writers(tmp_path) == [segments.Writer(counts.stem, True, 1, 0)]


def test_a_living_process_is_known_to_live_and_its_numbers_are_read_whatever_clears_the_memory(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    add(log, texts("hello"))
    log.complete_segments()
    (counts,) = tmp_path.glob("*.counts")
    segments._in_memory(counts.stem).unlink(missing_ok=True)
    assert segments.writers(tmp_path) == [segments.Writer(counts.stem, True, 1, 0)]
    assert not segments.is_removable(tmp_path, counts.name)


def test_removed_counts_leave_nothing_in_memory(tmp_path: Path) -> None:
    process = "f" * 16
    segments.Counts(tmp_path, process).take(3)
    assert segments.writers(tmp_path)[0].taken == 3
    segments.remove(tmp_path, f"{process}.counts")
    assert segments.writers(tmp_path) == []
    assert not segments._in_memory(process).exists()


def test_a_log_whose_folder_somebody_deletes_goes_on_and_its_process_still_counts_as_alive(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    log = log_in(folder)
    add(log, texts("one"))
    log._write(5.0)
    shutil.rmtree(folder)
    for _ in range(2):
        add(log, texts("two"))
        log._write(5.0)
    (writer,) = segments.writers(folder)
    assert (writer.alive, writer.taken) == (True, 3)
    assert segments.complete(folder) == [], "it is being written"
    log.add_feedback([{"request": "a", "row": 0, "label": "spam"}])
    log.complete_segments()
    assert len(lines(folder)) == 2
    assert len(lines(folder, "feedback")) == 1


@pytest.mark.parametrize("id", ["x" * 65, "a\xffb\x00", "\x7f"])
def test_a_request_whose_id_no_label_could_name_is_not_logged(id: str) -> None:
    assert caller_of({b"x-request-id": id.encode("latin-1")}, "spam", "token").id == ""
