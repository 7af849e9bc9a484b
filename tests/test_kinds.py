"""One rule for what a text or a series is, at ingest, in training and at the endpoint."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bentos import golden, protocol
from ratchet import kinds, tasks
from ratchet import recipe as recipes
from ratchet.answers import Answers
from ratchet.attribution import attribute
from ratchet.contract import Contract
from ratchet.errors import Refusal
from ratchet.kinds import parts
from ratchet.kinds.image import ImageContract
from ratchet.kinds.series import SeriesContract, records
from ratchet.kinds.series.windows import windows
from ratchet.kinds.text.contract import FIRST, PADDING, UNKNOWN, TextContract
from ratchet.lake import sources
from ratchet.lake.split import SIDES
from ratchet.tasks.classification import Classification
from ratchet.tasks.forecast import Forecast
from ratchet.tasks.multilabel import MultiLabel
from ratchet.tasks.regression import Regression
from ratchet.tokenizer import normalized

TEXT = TextContract(max_characters=200, max_tokens=8, vocabulary_size=20, min_texts=2)
SERIES = SeriesContract(low=-10.0, high=50.0, window=6, horizon=3, block=24)
ALL: tuple[Contract, ...] = (ImageContract(5, 4), TEXT, SERIES)
texts = st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=60)
                 .filter(lambda t: bool(t.strip())), min_size=1, max_size=4)  # fmt: skip


@pytest.mark.parametrize("kind", ALL, ids=[each.kind for each in ALL])
def test_a_contract_is_the_same_after_its_json(kind: Contract) -> None:
    assert kinds.of(json.loads(json.dumps(kind.to_json()))) == kind


@pytest.mark.parametrize("kind", ALL, ids=[each.kind for each in ALL])
@given(seed=st.integers(0, 2**32))
def test_synthesized_and_varied_inputs_obey_the_contract_and_round_trip(kind: Contract, seed: int) -> None:
    chance = np.random.default_rng(seed)
    synthesized = kind.synthesize(3, chance)
    for inputs in (synthesized, kind.vary(synthesized, chance), kind.example()):
        assert (kind.unpack(kind.pack(inputs), len(inputs)) == inputs).all()
        assert (kind.read(inputs.tolist()) == inputs).all()
        assert len(kind.features(inputs)) == len(inputs)


@pytest.mark.parametrize("kind", ALL, ids=[each.kind for each in ALL])
@given(seed=st.integers(0, 2**32), most=st.integers(1, 64))
def test_an_occluded_input_is_an_input_too_and_differs_in_its_region_alone(
    kind: Contract, seed: int, most: int
) -> None:
    one = kind.synthesize(1, np.random.default_rng(seed))
    regions = kind.regions(one, most)
    assert len(set(regions)) == len(regions) <= most
    for region in regions:
        (other,) = kind.occlude(one, region)
        assert (kind.read(kind.occlude(one, region).tolist()) == kind.occlude(one, region)).all()
        if kind.kind == "text":
            assert other == one[0][: region[0]] + one[0][region[1] :]
        elif kind.kind == "series":
            outside = np.ones(len(other), bool)
            outside[slice(*region)] = False
            assert (other[outside] == one[0][outside]).all()


def test_the_region_that_a_prediction_depends_on_has_the_largest_weight() -> None:
    """Of models that look at one region alone."""
    image = np.zeros((1, 28, 28), np.uint8)
    image[0, 12:16, 12:16] = 255

    def middle(images: np.ndarray) -> np.ndarray:
        lit = images[:, 12:16, 12:16].mean(axis=(1, 2)) / 255
        return np.stack([lit, 1 - lit], axis=1)

    output, attributions = attribute(ImageContract(28, 28), Classification(("lit", "dark")), middle, image)
    assert output.argmax() == 0
    best = max(attributions, key=lambda a: a.weight)
    assert best.weight > 0.9
    assert best.region[0] < 16
    assert best.region[1] > 12
    assert min(a.weight for a in attributions) == 0

    def free(texts: np.ndarray) -> np.ndarray:
        spam = np.array([0.9 if "free" in text else 0.2 for text in texts])
        return np.stack([1 - spam, spam], axis=1)

    words = np.array(["this is a free prize for you"], object)
    _, attributions = attribute(TextContract(), Classification(("ham", "spam")), free, words)
    best = max(attributions, key=lambda a: a.weight)
    assert words[0][slice(*best.region)] == "free"
    assert best.weight == pytest.approx(0.7)

    window = np.random.default_rng(0).random((1, 6)).astype(np.float32)
    _, attributions = attribute(SERIES, Forecast(3, 1.0), lambda x: np.repeat(x[:, -1:], 3, axis=1), window)
    assert max(attributions, key=lambda a: a.weight).region == (5, 6)


def test_a_text_of_one_word_has_no_region_to_occlude() -> None:
    assert TEXT.regions(np.array(["hello"], object), 64) == []


@given(st.lists(st.lists(st.sampled_from("abcde"), min_size=3, max_size=9).map(" ".join), min_size=2, max_size=9))
def test_a_synthesized_text_holds_no_word_of_fewer_texts_than_min_texts(given: list[str]) -> None:
    for text in TEXT.synthesize(2, np.random.default_rng(0), np.array(given, object)).tolist():
        rare = [w for w in text.split() if sum(w in t.split() for t in given) < TEXT.min_texts]
        assert not rare or set(text.split()) <= {"hello", "world"}


@given(texts)
def test_a_text_is_the_same_by_json_and_by_bytes(given: list[str]) -> None:
    array = TEXT.read(given)
    assert array.tolist() == [normalized(text) for text in given]
    assert TEXT.unpack(TEXT.pack(array), len(given)).tolist() == array.tolist()


@pytest.mark.parametrize("value", [None, 7, "", "  \n", "a\0b", "\ud800", "x" * 201, ["a"], b"\xff"])
def test_what_is_not_a_text_is_refused(value: object) -> None:
    with pytest.raises(Refusal) as caught:
        TEXT.encode(value, "it") if isinstance(value, bytes) else TEXT.read([value])
    assert caught.value.next


@given(st.binary(max_size=80), st.integers(1, 3))
def test_only_complete_bytes_are_read_as_texts(data: bytes, count: int) -> None:
    try:
        assert len(TEXT.unpack(data, count)) == count
    except Refusal as refusal:
        assert refusal.next


def test_words_are_learnt_from_many_texts_and_a_rare_one_is_unknown() -> None:
    words = TEXT.learn_vocabulary(np.array(["buy now", "Buy later, Secretname", "now or later"], object))
    assert set(words) == {"buy", "now", "later"}
    (ids,) = TEXT.features(np.array(["BUY secretname now"], object), words).tolist()
    assert ids == [PADDING] * 5 + [FIRST + words.index("buy"), UNKNOWN, FIRST + words.index("now")]


@given(st.lists(st.sampled_from(["a b", "b c", "c", "a c d"]), min_size=1, max_size=9), st.randoms())
def test_the_vocabulary_does_not_depend_on_the_order_of_the_texts(given: list[str], random: object) -> None:
    mixed = list(given)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert TEXT.learn_vocabulary(np.array(given, object)) == TEXT.learn_vocabulary(np.array(mixed, object))


@pytest.mark.parametrize(
    "values", [[[1] * 5], [1] * 6, [[1] * 7], [["1"] * 6], [[True] * 6], [[99] * 6], [], [[None] * 6]]
)
def test_what_is_not_a_window_is_refused(values: object) -> None:
    with pytest.raises(Refusal) as caught:
        SERIES.read(values)
    assert caught.value.next


def test_a_window_with_a_number_that_is_not_finite_is_refused() -> None:
    for bad in (float("nan"), float("inf")):
        with pytest.raises(Refusal):
            SERIES.read([[1.0] * 5 + [bad]])
        with pytest.raises(Refusal):
            SERIES.encode(bad, "it")


def rows(values: list[float], start: datetime, gaps: frozenset[int] = frozenset()) -> pa.Table:
    kept = [(start + timedelta(hours=i), v) for i, v in enumerate(values) if i not in gaps]
    columns = {"captured_at": pa.array([at for at, _ in kept], pa.timestamp("us", tz="UTC")),
            "value": [v for _, v in kept], "record": [f"{i:05}" for i in range(len(kept))]}  # fmt: skip
    return pa.table(columns)


START = datetime(2024, 1, 1, tzinfo=UTC)


@given(st.integers(0, 40), st.frozensets(st.integers(0, 39), max_size=4))
def test_a_window_never_reaches_over_a_gap(count: int, gaps: frozenset[int]) -> None:
    inputs, targets = windows(SERIES, rows([float(i) for i in range(count)], START, gaps))
    assert len(inputs) == len(targets)
    for past, future in zip(inputs, targets, strict=True):
        hours = [*past.tolist(), *future.tolist()]
        assert hours == [hours[0] + i for i in range(9)]
    whole = [i for i in range(count - 8) if not gaps & set(range(i, i + 9))]
    assert inputs[:, 0].tolist() == whole if whole else not len(inputs)


FILLED = dataclasses.replace(SERIES, fill=2)


@given(st.integers(9, 40), st.frozensets(st.integers(0, 39), max_size=6))
def test_a_window_with_short_gaps_is_one_that_the_endpoint_accepts_too(count: int, gaps: frozenset[int]) -> None:
    inputs, targets = windows(FILLED, rows([float(i % 7) for i in range(count)], START, gaps))
    expected = []
    for first in range(count - 8):
        window = [None if i in gaps else float(i % 7) for i in range(first, first + 6)]
        if gaps & set(range(first + 6, first + 9)) or not any(value is not None for value in window):
            continue
        try:
            FILLED.read([window])
        except Refusal:
            continue
        expected.append((first, window))
    ends = [i for i in range(count) if i not in gaps]
    expected = [each for each in expected if each[0] >= min(ends) and each[0] + 8 <= max(ends)]
    assert FILLED.values(inputs) == [window for _, window in expected]
    assert [target.tolist() for target in targets] == [
        [float(i % 7) for i in range(first + 6, first + 9)] for first, _ in expected
    ]


def test_a_window_with_too_many_missing_values_in_a_row_is_refused_with_its_place() -> None:
    gaps = FILLED.read([[1, None, None, 4, 5, None]])
    assert FILLED.features(gaps).tolist() == [[[1, 0], [2, 1], [3, 1], [4, 0], [5, 0], [5, 1]]], (
        "values, and which are filled"
    )
    assert np.array_equal(FILLED.unpack(FILLED.pack(gaps), 1), gaps, equal_nan=True)
    assert FILLED.read(FILLED.values(gaps)).tolist()[0][0] == 1
    assert np.isnan(FILLED.synthesize(4, np.random.default_rng(0))).any(), "a golden set asks for gaps, too"
    assert not np.isnan(FILLED.occlude(gaps, (0, 3))[0, :3]).any()
    assert SERIES.features(SERIES.read([[1] * 6])).shape == (1, 6, 1)
    assert np.isfinite(SERIES.features(gaps)).all(), (
        "an older champion reads the benchmark of a recipe that allows gaps"
    )
    assert (FILLED.features_version, SERIES.features_version) == (2, 1), "it is trained anew"
    last = FILLED.synthesize(400, np.random.default_rng(0))[:, -1]
    assert np.isnan(last).any(), "the newest value may be missing, too"
    with pytest.raises(ValueError, match="more than half of a window"):
        dataclasses.replace(SERIES, fill=4)
    with pytest.raises(Refusal, match="4 of 6 values are missing in row 0, more than half"):
        FILLED.read([[None, None, 3, None, None, 6]])
    with pytest.raises(Refusal, match="3 values in a row are missing in row 1, more than 2"):
        FILLED.read([[1] * 6, [1, None, None, None, 5, 6]])
    with pytest.raises(Refusal, match="not every element is a number"):
        SERIES.read([[1, None, 3, 4, 5, 6]])
    assert "fill" not in SERIES.to_json(), "the contract of an older model is the same one"


def test_a_value_that_came_twice_is_no_gap() -> None:
    once = rows([float(i) for i in range(20)], START)
    assert len(windows(SERIES, pa.concat_tables([once, once]))[0]) == len(windows(SERIES, once)[0]) == 12


@pytest.mark.parametrize("offset", [0, 1800])
def test_values_may_have_an_offset_from_whole_steps(offset: int) -> None:
    kind = dataclasses.replace(SERIES, offset=offset)
    assert kind.digest(b"", START + timedelta(seconds=offset))
    with pytest.raises(Refusal, match="multiple"):
        kind.digest(b"", START + timedelta(seconds=offset + 60))


@pytest.mark.parametrize(
    ("step", "days", "season", "apart"),
    [
        ("business day", ["2024-01-04", "2024-01-05", "2024-01-08", "2024-01-09"], 5, "2024-01-06"),
        ("month", ["2024-01-31", "2024-02-29", "2024-03-01", "2024-04-30"], 12, ""),
    ],
)
def test_values_may_stand_on_business_days_or_in_months(step: str, days: list[str], season: int, apart: str) -> None:
    kind = dataclasses.replace(SERIES, window=2, horizon=1, step=step, block=15)
    times = [datetime.fromisoformat(day).replace(tzinfo=UTC) for day in days]
    digests = {kind.digest(b"", time) for time in times}
    assert len(digests) == 4
    assert kind.digest(b"", times[0] + timedelta(hours=7)) in digests, "the time of the day does not matter"
    if apart:
        with pytest.raises(Refusal, match="on no business day"):
            kind.digest(b"", datetime.fromisoformat(apart).replace(tzinfo=UTC))
    columns = {"captured_at": pa.array(times, pa.timestamp("us", "UTC")), "value": [1.0, 2.0, 3.0, 4.0]}
    inputs, targets = windows(kind, pa.table(columns))
    assert (inputs.tolist(), targets.tolist()) == ([[1, 2], [2, 3]], [[3], [4]]), "no gap lies between them"
    assert records.statistics(kind, [{"captured_at": time, "value": 1.0} for time in times])[
        "steps_after"
    ].tolist() == [1, 1, 1, 1]
    assert dataclasses.replace(kind, window=24, block=48).season == season
    assert kinds.of(kind.to_json()) == kind
    for wrong in ("fortnight", 3600.0, True):
        with pytest.raises(ValueError, match="a step is a whole number of seconds"):
            dataclasses.replace(SERIES, step=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("contract", [FILLED, SERIES], ids=["gaps", "whole"])
def test_a_missing_value_is_null_by_both_protocols(contract: SeriesContract) -> None:
    window = [1.0, None, None, 4.0, 5.0, None]
    sent = {"inputs": [{"name": "series", "datatype": "FP32", "shape": [1, 6], "data": window}]}
    if not contract.fill:
        with pytest.raises(Refusal):
            protocol.parse(json.dumps(sent).encode(), None, contract, contract.answers())
        return
    request = protocol.parse(json.dumps(sent).encode(), None, contract, contract.answers())
    assert np.array_equal(request.inputs, contract.read([window]), equal_nan=True)


def test_a_season_is_a_day_where_there_is_one() -> None:
    seasons = {step: dataclasses.replace(SERIES, step=step, window=24, block=96).season for step in (3600, 604800, 900)}
    assert seasons == {3600: 24, 604800: 1, 900: 1}


@pytest.mark.parametrize("values", [["x" * 100_000] + ["y"] * 5, [[1.0] * 5 + ["2"]], [[None] * 6], [[1.0] * 5, 3]])
def test_a_text_among_numbers_is_refused_before_it_takes_memory(values: object) -> None:
    for kind in (SERIES, ImageContract(5, 4)):
        with pytest.raises(Refusal):
            kind.read(values)


@pytest.mark.parametrize("changes", [
    {"window": 7}, {"block": 8}, {"horizon": 0}, {"step": 0}, {"low": 60.0}, {"close": 0.0}])  # fmt: skip
def test_a_series_that_cannot_be_is_refused_when_it_is_written(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"window|block|least"):
        dataclasses.replace(SERIES, **changes)


def test_a_moment_with_two_values_is_a_gap() -> None:
    table = pa.concat_tables([rows([1.0] * 20, START), rows([2.0], START + timedelta(hours=10))])
    inputs, _ = windows(SERIES, table)
    assert len(inputs) == 2 + 1


@given(st.integers(100, 900))
def test_no_hour_of_a_series_stands_on_two_sides(count: int) -> None:
    values = [i * 50 / 900 for i in range(count)]
    parts = records.sides(SERIES, rows(values, START))
    assert sum(p.num_rows for p in parts.values()) == count
    seen: dict[float, str] = {}
    for side in SIDES:
        for window in windows(SERIES, parts[side]):
            for value in window.ravel().tolist():
                assert seen.setdefault(value, side) == side


@pytest.mark.parametrize(
    "kind",
    [Classification(("a", "b", "c")), Forecast(3, 0.5, "m"), Regression(0, 1, 0.1), MultiLabel(("a", "b"))],
    ids=lambda kind: kind.task,
)
def test_answers_have_the_tensors_that_their_metadata_names(kind: Answers) -> None:
    outputs = np.random.default_rng(0).random((4, kind.width)).astype(np.float32)
    tensors = kind.tensors(outputs)
    assert [m["name"] for m in kind.metadata()] == list(tensors)
    for meta in kind.metadata():
        assert tuple(meta["shape"][1:]) == tensors[meta["name"]].shape[1:]
    for is_binary in (False, True):
        request = protocol.InferenceRequest("", outputs, tuple((name, is_binary) for name in tensors))
        body, headers = protocol.render(request, tensors, "r", "1")
        sent = json.loads(body[: int(headers.get("inference-header-content-length", len(body)))])["outputs"]
        assert [(each["name"], each["datatype"]) for each in sent] == [
            (m["name"], m["datatype"]) for m in kind.metadata()
        ]
    assert kind.agree(kind.compact(outputs[0]), kind.compact(outputs[0]))
    assert np.array_equal(kind.outputs(json.loads(json.dumps(kind.predictions(outputs)))), outputs)
    assert tasks.of(json.loads(json.dumps(kind.to_json()))) == kind


def test_an_output_that_is_requested_many_times_is_refused() -> None:
    forecast = SERIES.answers()
    tensor = {"name": "series", "datatype": "FP32", "shape": [1, 6], "data": [1] * 6}
    body = json.dumps({"inputs": [tensor], "outputs": [{"name": "forecast"}] * 1000}).encode()
    with pytest.raises(Refusal, match="twice"):
        protocol.parse(body, None, SERIES, forecast)


def test_texts_synthesized_from_short_ones_consist_of_their_common_words() -> None:
    short = np.array(["good day", "bad night", "good night", "bad day"] * 3, object)
    words = {w for text in TEXT.synthesize(4, np.random.default_rng(0), short).tolist() for w in text.split()}
    assert words <= {"good", "bad", "day", "night"}
    assert len(words) > 1


def test_two_forecasts_agree_if_they_are_close() -> None:
    forecast = Forecast(2, 0.5)
    assert forecast.agree((1.0, 1.0), (1.4, 1.5))
    assert not forecast.agree((1.0, 1.0), (2.0, 1.4))


def test_the_protocol_takes_texts_as_json_and_as_bytes() -> None:
    classes = Classification(("ham", "spam"))
    tensor = {"name": "text", "datatype": "BYTES", "shape": [2]}
    plain = protocol.parse(json.dumps({"inputs": [{**tensor, "data": ["one", "two"]}]}).encode(), None, TEXT, classes)
    packed = TEXT.pack(plain.inputs)
    head = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": len(packed)}}]}).encode()
    request = protocol.parse(head + packed, str(len(head)), TEXT, classes)
    assert request.inputs.tolist() == plain.inputs.tolist() == ["one", "two"]
    for bad in (["one"], ["one", "two", "three"], ["one", 2], "one", None):
        with pytest.raises(Refusal):
            protocol.parse(json.dumps({"inputs": [{**tensor, "data": bad}]}).encode(), None, TEXT, classes)


def test_the_protocol_takes_windows_as_json_and_as_bytes() -> None:
    forecast = SERIES.answers()
    tensor = {"name": "series", "datatype": "FP32", "shape": [1, 6]}
    for data in ([1.5] * 6, [[1.5] * 6], [2] * 6):
        request = protocol.parse(json.dumps({"inputs": [{**tensor, "data": data}]}).encode(), None, SERIES, forecast)
        assert request.inputs.shape == (1, 6)
        assert request.outputs == (("forecast", False),)


def test_a_golden_set_keeps_texts_as_they_are(tmp_path: Path) -> None:
    meta = {"recipe": "r", "contract": TEXT.to_json(), "classes": ["ham", "spam"]}
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    golden.write(tmp_path, TEXT.read(["ja, bitte €", "no"]), np.eye(2, dtype=np.float32))
    expected = golden.read(tmp_path)
    assert expected.inputs.tolist() == ["ja, bitte €", "no"]
    assert TEXT.unpack(TEXT.pack(expected.inputs), 2).tolist() == ["ja, bitte €", "no"]


LIMITS = sources.Limits(memory=256 << 20, disk=64 << 20)


def read(path: Path, kind: Contract, tmp_path: Path) -> list[dict]:
    return sources.read(path, kind, LIMITS, tmp_path).to_pylist()


def test_texts_come_from_csv_and_parquet_alike(tmp_path: Path) -> None:
    texts, labels = ["hello, you", 'say "hi"\nover lines', "no"], ["ham", "spam", "ham"]
    quoted = ",".join
    lines = [quoted(['"' + t.replace('"', '""') + '"', label]) for t, label in zip(texts, labels, strict=True)]
    (tmp_path / "a.csv").write_text("text,label\n" + "\n".join(lines))
    pq.write_table(pa.table({"text": texts, "label": labels}), tmp_path / "a.parquet")
    for name in ("a.csv", "a.parquet"):
        records = read(tmp_path / name, TEXT, tmp_path)
        assert [(r["data"].decode(), r["label"]) for r in records] == list(zip(texts, labels, strict=True))


def test_a_series_comes_from_csv_and_parquet_alike_and_only_bad_rows_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "value,time\n1.5,2024-01-01T00:00:00\n2,2024-01-01 01:00\nhot,2024-01-01T02:00:00\n3,yesterday\n"
        "99,2024-01-01T04:00\n"
    )
    records = read(tmp_path / "a.csv", SERIES, tmp_path)
    assert [np.frombuffer(r["data"])[0] for r in records[:2]] == [1.5, 2.0]
    assert [bool(r["reason"]) for r in records] == [False, False, True, True, True]
    assert records[1]["captured_at"] == datetime(2024, 1, 1, 1, tzinfo=UTC)
    pq.write_table(pa.table({"time": [START], "value": [1.5]}), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet", SERIES, tmp_path)[0]["captured_at"] == START


BAD = {
    "empty": b"", "no heading": b"1,2\n3,4\n", "a heading alone": b"text,label\n", "binary": bytes(range(60)),
    "an open quote": b'text,label\n"no end,ham\n', "an image": b"\x89PNG\r\n\x1a\n" + bytes(40), "PAR1": b"PAR1PAR1",
    "damaged UTF-8": b"text,label\n\xc3\xa9\xff\xfe,ham\n",
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("kind", [TEXT, SERIES], ids=["text", "series"])
def test_a_file_that_holds_no_table_is_refused_with_a_sentence(name: str, kind: Contract, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(BAD[name])
    with pytest.raises(Refusal) as caught:
        read(path, kind, tmp_path)
    assert caught.value.next
    assert "Traceback" not in str(caught.value)


def test_a_folder_of_images_is_not_a_table_of_texts(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(Refusal, match="the folder holds no Parquet file"):
        read(tmp_path / "in", TEXT, tmp_path)


def test_an_input_that_was_served_makes_a_record_of_every_kind_but_a_series(home: Path) -> None:
    """Its digest is that of the same input from a file, unless the record has an id."""
    now, rng = datetime(2026, 11, 29, 12, tzinfo=UTC), np.random.default_rng(0)
    for name in recipes.names():
        contract = recipes.load(name).contract
        module = parts.records(contract.kind)
        value = module.served(contract, contract.synthesize(1, rng), "request#0", now)
        if contract.kind == "series":
            assert value is None
            continue
        data = contract.encode(value, "request#0")
        assert contract.digest(data, now) == contract.digest(contract.encode(value, "again"), now), name
        assert set(parts.logged(contract.kind).statistics(contract, contract.synthesize(2, rng))), name
