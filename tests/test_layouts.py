"""What people have is read as it is meant: notations of times, other separators and names, links, folders of sides."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ratchet import settings as settings_module
from ratchet.contract import Contract
from ratchet.errors import Refusal
from ratchet.kinds.image import ImageContract
from ratchet.kinds.series import SeriesContract
from ratchet.kinds.text import TextContract
from ratchet.lake import sources
from ratchet.lake.times import Times
from ratchet.layout import DETECTED, Layout

LIMITS = sources.Limits(memory=256 << 20, disk=64 << 20)
SERIES = SeriesContract(-1e9, 1e9, close=1.0, step=3600, window=6, horizon=3, block=9)
BERLIN = Layout(zone="Europe/Berlin")


def read(path: Path, contract: Contract, layout: Layout = DETECTED) -> tuple[list[dict], tuple[str, ...]]:
    scratch = path.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    rows = sources.read(path, contract, LIMITS, scratch, layout=layout)
    return rows.to_pylist(), sources.facts(rows)


MOMENTS = st.datetimes(datetime(1975, 1, 1), datetime(2190, 1, 1)).map(lambda each: each.replace(microsecond=0))
NOTATIONS: dict[str, Callable[[datetime], object]] = {
    "ISO 8601 without a zone": lambda each: each.isoformat(" "),
    "ISO 8601 with a zone": lambda each: each.replace(tzinfo=UTC).isoformat(),
    "seconds after 1970": lambda each: str(int(each.replace(tzinfo=UTC).timestamp())),
    "milliseconds after 1970": lambda each: int(each.replace(tzinfo=UTC).timestamp()) * 1000,
    "nanoseconds after 1970": lambda each: int(each.replace(tzinfo=UTC).timestamp()) * 10**9,
}


@given(st.sampled_from(sorted(NOTATIONS)), st.lists(MOMENTS, min_size=1, max_size=5))
def test_the_form_of_a_column_of_times_is_found_and_each_is_read(notation: str, moments: list[datetime]) -> None:
    written = [NOTATIONS[notation](each) for each in moments]
    times = Times(written, DETECTED)
    assert times.notation == notation
    assert [times.read(each, "it") for each in written] == [each.replace(tzinfo=UTC) for each in moments]


@pytest.mark.parametrize(
    ("value", "words"),
    [("1388534400000", "milliseconds after 1970, and the others are ISO"), ("0024-01-01", "of the year 24"),
     ("yesterday", "is not ISO 8601"), ("2013", "is not ISO 8601"), ("03/04/2024", r"%m/%d/%Y")],
)  # fmt: skip
def test_a_time_of_another_form_or_century_is_refused_alone(value: str, words: str) -> None:
    times = Times(["2024-01-01 00:00", "2024-01-01 01:00", value], DETECTED)
    with pytest.raises(Refusal) as caught:
        times.read(value, "row 3")
    assert words in f"{caught.value}"


def test_a_file_without_a_readable_time_is_refused_with_the_way_to_give_the_pattern() -> None:
    with pytest.raises(Refusal, match=r"have no known notation") as caught:
        Times(["03/04/2024", "03/05/2024"], DETECTED)
    assert 'Layout(time="%m/%d/%Y")' in caught.value.next
    times = Times(["03/04/2024"], Layout(time="%m/%d/%Y"))
    assert times.read("03/04/2024", "it") == datetime(2024, 3, 4, tzinfo=UTC)


def test_the_end_of_a_day_may_be_written_as_24_00() -> None:
    times = Times(["2024-12-31 23:00", "2024-12-31 24:00"], DETECTED)
    assert times.read("2024-12-31 24:00", "it") == datetime(2025, 1, 1, tzinfo=UTC)


@given(st.integers(2000, 2035), st.sampled_from([15, 30, 60]))
def test_local_times_over_the_end_of_summer_time_are_read_in_their_order(year: int, minutes: int) -> None:
    """The hour that comes twice is written alike both times."""
    start = datetime(year, 10, 24, tzinfo=UTC)
    moments = [start + timedelta(minutes=minutes * n) for n in range(8 * 24 * 60 // minutes)]
    written = [each.astimezone(ZoneInfo("Europe/Berlin")).replace(tzinfo=None).isoformat() for each in moments]
    assert len(set(written)) < len(written)
    times = Times(written, BERLIN)
    assert [times.read(each, "it") for each in written] == moments


def test_an_hour_that_does_not_exist_is_refused_with_the_zone() -> None:
    with pytest.raises(Refusal, match="does not exist in Europe/Berlin"):
        Times(["2024-03-31 02:30"], BERLIN).read("2024-03-31 02:30", "it")


def series_of(times: list[object], folder: Path) -> Path:
    path = folder / "series.csv"
    path.write_text("time,value\n" + "\n".join(f"{at},{n}" for n, at in enumerate(times)))
    return path


def test_milliseconds_are_no_dates_of_the_1700s(tmp_path: Path) -> None:
    start = int(datetime(2014, 1, 1, tzinfo=UTC).timestamp() * 1000)
    rows, facts = read(series_of([start + 3_600_000 * n for n in range(48)], tmp_path), SERIES)
    assert {row["reason"] for row in rows} == {None}
    assert [row["captured_at"].year for row in rows] == [2014] * 48
    assert "the times in 'time' are milliseconds after 1970" in facts


TEXTS = [("Grüße, an alle", "ja"), ("nein; danke", "nein")] * 40


def written_text(notation: str, path: Path) -> None:
    if notation == "semicolons in windows-1252":
        path.write_bytes("\n".join(["text;label", *(f'"{t}";{label}' for t, label in TEXTS)]).encode("cp1252"))
    elif notation == "JSON lines":
        path.write_text("\n".join(json.dumps({"text": t, "label": label}) for t, label in TEXTS))
    elif notation == "a folder of Spark's":
        path.mkdir()
        for part in range(2):
            half = TEXTS[40 * part : 40 * part + 40]
            pq.write_table(pa.table({"text": [t for t, _ in half], "label": [label for _, label in half]}),
                           path / f"part-{part}.snappy.parquet")  # fmt: skip
        (path / "_SUCCESS").touch()
    else:
        rows = pa.table({"text": [t for t, _ in TEXTS], "label": [label for _, label in TEXTS]})
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, rows.schema) as writer:
            writer.write_table(rows)


@pytest.mark.parametrize("notation", ["semicolons in windows-1252", "JSON lines", "a folder of Spark's", "Arrow"])
def test_texts_are_read_in_every_form_that_tables_are(notation: str, tmp_path: Path) -> None:
    written_text(notation, tmp_path / "mails")
    rows, facts = read(tmp_path / "mails", TextContract())
    assert [(row["data"].decode(), row["label"]) for row in rows] == TEXTS
    if notation.startswith("semi"):
        assert facts == ("it is read as CSV in cp1252 with the delimiter ';'",)


def test_columns_of_other_names_are_named_by_the_layout(tmp_path: Path) -> None:
    path = tmp_path / "mails.csv"
    path.write_text("id|body|class\n" + "\n".join(f"{n}|word {n}|a" for n in range(5)))
    with pytest.raises(Refusal, match=r"it has no column 'text', 'label'.*Its columns are id, body, class") as caught:
        read(path, TextContract())
    assert "Layout(columns=)" in caught.value.next
    rows, _ = read(path, TextContract(), Layout(columns={"text": "body", "label": "class"}))
    assert [(row["data"], row["label"]) for row in rows] == [(f"word {n}".encode(), "a") for n in range(5)]


def test_a_blank_label_is_no_class(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a"] * 4, "label": ["x", "", " ", None]}), tmp_path / "mails")
    assert [row["label"] for row in read(tmp_path / "mails", TextContract())[0]] == ["x", None, None, None]


@pytest.mark.parametrize(("name", "words"), [("xl/workbook.xml", "an Excel workbook; save it as CSV"),
                                             ("data.csv", "a ZIP archive; unpack it")])  # fmt: skip
def test_an_archive_is_named_as_what_it_is(name: str, words: str, tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "data.xlsx", "w") as archive:
        archive.writestr(name, "text,label")
    with pytest.raises(Refusal, match=words):
        read(tmp_path / "data.xlsx", TextContract())


def test_records_that_take_more_than_the_disk_setting_name_it(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"text": [f"{n} " + "x" * 900 for n in range(4000)], "label": ["a"] * 4000}), tmp_path / "m"
    )
    with pytest.raises(Refusal, match="more than 1 MB on disk") as caught:
        sources.read(tmp_path / "m", TextContract(), sources.Limits(256 << 20, 1 << 20), tmp_path)
    assert "RATCHET_INGEST_DISK_MB" in caught.value.next


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)).save(path, "PNG")


IMAGE = ImageContract(8, 8)


def test_folders_of_sides_are_read_as_one(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for seed, side in enumerate(("train", "val", "test")):
        for at, class_ in enumerate(("cat", "dog")):
            picture(data / side / class_ / "1.png", 10 * seed + at)
    rows, facts = read(data, IMAGE)
    assert sorted(row["label"] for row in rows) == ["cat"] * 3 + ["dog"] * 3
    assert "its folders test, train, val are read as one, and split by digest" in facts


def test_a_file_of_a_side_without_a_class_is_refused_and_not_left_out(tmp_path: Path) -> None:
    data = tmp_path / "data"
    picture(data / "train" / "cat" / "1.png", 0)
    picture(data / "test" / "1.png", 1)
    reasons = {row["name"]: row["reason"] for row in read(data, IMAGE)[0]}
    assert reasons == {"train/cat/1.png": None,
                       "test/1.png": "the file is not in the folder of a class"}  # fmt: skip


def test_keys_that_the_first_line_leaves_out_are_read(tmp_path: Path) -> None:
    lines = [{"text": "a", "label": "x"}, {"text": "b", "label": "y", "captured_at": "2024-01-01T00:00:00Z"}]
    (tmp_path / "mails").write_text("\n".join(map(json.dumps, lines)))
    rows, _ = read(tmp_path / "mails", TextContract())
    assert [row["captured_at"] and row["captured_at"].year for row in rows] == [None, 2024]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"txt": "body"}, "the layout names 'txt', which is no column"),
        ({"text": "label"}, "gives one column two meanings"),
    ],
)
def test_a_layout_that_fits_no_file_is_refused(columns: dict, words: str, tmp_path: Path) -> None:
    (tmp_path / "mails.csv").write_text("text,label\na,x\n")
    with pytest.raises(Refusal, match=words):
        read(tmp_path / "mails.csv", TextContract(), Layout(columns=columns))


def test_a_column_may_be_the_label_that_would_be_the_group_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "mails.csv").write_text("text,group\na,x\n")
    rows, _ = read(tmp_path / "mails.csv", TextContract(), Layout(columns={"label": "group"}))
    assert [row["label"] for row in rows] == ["x"]


def test_a_date_without_separators_is_not_taken_for_milliseconds() -> None:
    with pytest.raises(Refusal) as caught:
        Times(["202401011200", "202401011300"], DETECTED)
    assert "--time %Y%m%d%H%M" in caught.value.next


def test_a_class_may_have_the_name_of_a_side(tmp_path: Path) -> None:
    for at, class_ in enumerate(("train", "ship")):
        picture(tmp_path / "data" / class_ / "1.png", at)
    assert sorted(row["label"] for row in read(tmp_path / "data", IMAGE)[0]) == ["ship", "train"]


def test_every_link_is_followed_or_refused_and_none_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As DVC and git-annex make them. What lies elsewhere on this machine is nobody's to read."""
    data, cache, secret = tmp_path / "data", tmp_path / "cache", tmp_path / "secret"
    (data / "cat").mkdir(parents=True)
    for seed, target in enumerate((cache / "ab12", data / "inside", secret / "key")):
        picture(target, seed)
        os.symlink(target, data / "cat" / f"{seed}.png")
    os.symlink(tmp_path / "gone", data / "cat" / "3.png")
    os.symlink(secret / "key", data / "notes.csv")
    monkeypatch.setenv("RATCHET_LINKS", str(cache))
    settings_module.settings.cache_clear()
    records = read(data, IMAGE)[0]
    rows = {row["name"]: row["reason"] for row in records}
    payloads = [row["payload"] for row in records if row["name"] in ("cat/2.png", "cat/3.png", "notes.csv")]
    settings_module.settings.cache_clear()
    assert rows["cat/0.png"] is rows["cat/1.png"] is None
    assert rows["cat/2.png"] == f"it leads into {secret}, outside the folder"
    assert rows["cat/3.png"] == "it is a link to nothing"
    assert rows["notes.csv"] == f"it leads into {secret}, outside the folder"
    assert set(payloads) == {b""}, "nothing of it is kept"


@pytest.mark.parametrize("notation", ["csv", "jsonl"])
def test_a_folder_may_have_a_table_of_paths_and_labels(notation: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for seed in range(3):
        picture(data / "files" / f"{seed}.png", seed)
    picture(tmp_path / "secret.png", 7)
    outside = [("../secret.png", "a"), (str(tmp_path / "secret.png"), "a")]
    listed = [(f"files/{seed}.png", "ab"[seed % 2]) for seed in range(3)] + outside
    if notation == "csv":
        text = "path,label\n" + "\n".join(map(",".join, listed))
    else:
        text = "\n".join(json.dumps({"path": path, "label": label}) for path, label in listed)
    (data / f"labels.{notation}").write_text(text)
    picture(data / "files" / "nobody names it.png", 5)
    rows, facts = read(data, IMAGE)
    assert "1 other files of the folder are left out, since no table names them" in facts
    assert [(row["label"], row["reason"]) for row in rows] == [
        ("a", None), ("b", None), ("a", None), *[("a", "the path does not lie below the folder")] * 2,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "given_",
    [{"zone": "Mars/Base"}, {"encoding": "utf-99"}, {"delimiter": "::"}],
    ids=["zone", "encoding", "delimiter"],
)
def test_a_layout_that_no_file_can_have_is_refused(given_: dict) -> None:
    with pytest.raises(ValueError, match=r"there is no|is not one"):
        Layout(**given_)
