"""Tables: what a cell may be, the same at ingest and at the endpoint; files as people have them; features."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bentos import protocol
from expectations.drift import drift, summarize
from expectations.statistics import of_batch
from expectations.suite import suite
from models.checks import _one_column
from models.training_inputs import NetworkInputs, training_inputs
from ratchet import kinds
from ratchet.errors import Refusal
from ratchet.evaluation import association
from ratchet.kinds.table import Column, TableContract, evaluation, records, show, sources
from ratchet.kinds.table.endpoint import rows_of
from ratchet.kinds.table.scaffold import outline
from ratchet.lake import encoding, ingest, quarantine, snapshot, split, table, tabular
from ratchet.lake import sources as lake_sources
from ratchet.lake.fetch import digest
from ratchet.lake.formats import Record
from ratchet.lake.outline import Given
from ratchet.lake.split import SIDES
from ratchet.layout import DETECTED, Layout
from ratchet.recipe import (
    Classification,
    Criteria,
    DataSet,
    Feed,
    Recipe,
    Regression,
    RegressionCriteria,
    Suite,
    Training,
)

TABLE = TableContract(
    columns=(
        Column("shop", "category", feature=False),
        Column("when", "timestamp", missing=0.5),
        Column("price", "number", low=0, high=1000, missing=0.2),
        Column("count", "integer", low=0),
        Column("new", "boolean"),
        Column("colour", "category", values=("red", "green")),
        Column("brand", "category", length=12, missing=0.5),
    ),
    target="sold",
    id="shop",
)
ROW: dict[str, Any] = {
    "shop": "a1", "when": "2024-05-01T12:00:00+02:00", "price": 9.5, "count": 3, "new": True, "colour": "red",
    "brand": "Ö & Co",
}  # fmt: skip


def cells(**changes: Any) -> dict[str, Any]:
    return {**ROW, **changes}


WRONG = [
    ({"price": -1}, "'price' has -1, outside 0..1000"),
    ({"price": "9"}, "'price' has '9', no number"),
    ({"price": True}, "'price' has True, no number"),
    ({"price": math.inf}, "which is not finite"),
    ({"count": 2.5}, "'count' has 2.5, no integer"),
    ({"count": None}, "'count' has no value"),
    ({"count": 2**60}, "no integer"),
    ({"count": math.inf}, "no integer"),
    ({"price": 10**400}, "no number"),
    ({"when": "0001-01-01T00:00:00+14:00"}, "no timestamp"),
    ({"new": "yes"}, "'new' has 'yes', no boolean"),
    ({"colour": "blue"}, "'colour' has 'blue', none of red, green"),
    ({"colour": ""}, "'colour' has no value"),
    ({"brand": "x" * 13}, "more than 12 characters"),
    ({"brand": 7}, "no category"),
    ({"brand": "a\ud800"}, "no category"),
    ({"when": "2024-05-01T12:00:00"}, "no timestamp"),
    ({"when": "5/1/2024"}, "no timestamp"),
]


@pytest.mark.parametrize(("change", "why"), WRONG)
def test_a_wrong_cell_is_refused_with_its_column_at_ingest_and_at_the_endpoint(
    change: dict[str, Any], why: str
) -> None:
    with pytest.raises(Refusal) as at_ingest:
        TABLE.encode(cells(**change), "line 7")
    (column,) = change
    assert at_ingest.value.what.startswith(f"the column {column!r} has ")
    assert str(change[column]) not in at_ingest.value.what.partition(" has ")[2] or change[column] in (None, "")
    with pytest.raises(Refusal, match=why) as refusal:
        TABLE.read([ROW, cells(**change)])
    assert "row 1" in refusal.value.which


def test_a_row_is_the_same_to_the_model_from_the_lake_and_from_the_endpoint() -> None:
    rows = [ROW, cells(when=None, price=None, brand=None), cells(shop="b", new=False, brand="never seen")]
    kept = pa.table({"row": [TABLE.encode(row, "").decode() for row in rows], "label": [0, 1, 0]})
    from_lake, labels, weights = records.examples(TABLE, kept)
    assert weights is None
    from_json = TABLE.read(json.loads(json.dumps([{k: v for k, v in row.items() if k != "shop"} for row in rows])))
    assert from_lake.tobytes() == from_json.tobytes()
    assert labels.tolist() == [0, 1, 0]
    vocabulary = TABLE.learn_vocabulary(np.repeat(from_lake[:2], 5))
    assert np.array_equal(TABLE.features(from_lake, vocabulary), TABLE.features(from_json, vocabulary))
    assert np.isfinite(TABLE.features(from_lake, vocabulary)).all()
    assert kinds.of(json.loads(json.dumps(TABLE.to_json()))) == TABLE


def test_a_column_says_how_much_a_row_counts() -> None:
    column = Column("worth", "number", low=0, feature=False)
    contract = replace(TABLE, columns=(*TABLE.columns, column), weight="worth")
    cells_ = [contract.encode({**ROW, "worth": count}, "").decode() for count in (2, 0.5)]
    inputs, _, weights = records.examples(contract, pa.table({"row": cells_, "label": [0, 1]}))
    assert weights is not None
    assert weights.tolist() == [2.0, 0.5]
    assert "worth" not in inputs.dtype.names, "the model does not read it"
    assert contract.read([ROW]).tolist() == inputs[:1].tolist(), "a request leaves it out"
    with pytest.raises(Refusal, match="outside 0"):
        contract.encode({**ROW, "worth": -1}, "line 7")
    with pytest.raises(Refusal, match="some have no 'worth'"):
        records.examples(contract, pa.table({"row": [TABLE.encode(ROW, "").decode()], "label": [0]}))
    for wrong in (Column("worth", "number", feature=False), Column("worth", "number", low=0),
                  Column("worth", "category", feature=False)):  # fmt: skip
        with pytest.raises(ValueError, match="the weight 'worth' is no number"):
            replace(TABLE, columns=(*TABLE.columns, wrong), weight="worth")


def test_a_corrected_value_of_a_column_that_is_no_feature_makes_another_record() -> None:
    """Or a model would keep a wrong weight: the same records are the same data."""
    contract = TableContract((Column("x", "number"), Column("w", "number", low=0, feature=False)), "y", weight="w")
    one, other = (contract.encode({"x": 1, "w": weight}, "") for weight in (1, 2))
    assert contract.digest(one, None) == contract.digest(other, None), "they are the same input"
    assert contract.beside(one) != contract.beside(other)
    assert TableContract((Column("x", "number"),), "y").beside(b"{}") == ""


def test_only_what_training_saw_decides_the_features() -> None:
    trained = np.repeat(TABLE.read([cells(price=10, brand="a"), cells(price=30, brand="b")]), 5)
    vocabulary = TABLE.learn_vocabulary(trained)
    learnt = dict(zip([column.name for column in TABLE.feature_columns], map(json.loads, vocabulary), strict=True))
    assert learnt["price"] == {"median": 20.0, "mean": 20.0, "scale": 10.0}
    assert learnt["brand"]["categories"] == ["a", "b"]
    price, brand = 3, 9  # when takes four
    first, second = TABLE.features(TABLE.read([cells(price=40, brand="zz"), cells(price=None, brand="")]), vocabulary)
    assert (first[price + 1], first[price + 2], first[brand]) == (2.0, 0.0, 1.0), "an unseen category has a place"
    assert (second[price + 1], second[price + 2], second[brand]) == (0.0, 1.0, 0.0), "a missing one, too"


def test_a_category_that_few_rows_have_is_not_learnt_and_not_in_a_synthetic_row() -> None:
    trained = np.concatenate([np.repeat(TABLE.read([ROW]), 20), TABLE.read([cells(brand="a person")])])
    assert "a person" not in "".join(TABLE.learn_vocabulary(trained))
    synthetic = TABLE.synthesize(50, np.random.default_rng(0), trained)
    assert set(synthetic["brand"]) == {"Ö & Co"}
    assert TABLE.read(TABLE.values(synthetic)).tobytes() == synthetic.tobytes()


@given(st.lists(st.tuples(st.floats(0, 1000), st.integers(0, 9), st.booleans(), st.sampled_from(["red", "green"]))
                , min_size=1, max_size=5))  # fmt: skip
def test_rows_pass_through_json_bytes_and_tensors_unchanged(rows: list[tuple[Any, ...]]) -> None:
    names = ("price", "count", "new", "colour")
    inputs = TABLE.read([cells(**dict(zip(names, row, strict=True))) for row in rows])
    assert TABLE.read(json.loads(json.dumps(TABLE.values(inputs)))).tobytes() == inputs.tobytes()
    assert TABLE.unpack(TABLE.pack(inputs), len(inputs)).tobytes() == inputs.tobytes()
    assert TABLE.from_tensors(TABLE.to_tensors(inputs), 1024).tobytes() == inputs.tobytes()


PARTLY = TableContract(
    (
        Column("yes", "boolean", missing=0.5), Column("n", "integer", missing=0.5), Column("x", "number", missing=0.5),
        Column("at", "timestamp", missing=0.5), Column("k", "category", missing=0.5, length=8),
    ),
    target="y",
)  # fmt: skip
MAYBE = st.fixed_dictionaries({
    "yes": st.none() | st.booleans(), "n": st.none() | st.integers(-9, 9), "x": st.none() | st.floats(-9, 9),
    "at": st.none() | st.just("2024-05-01T12:00:00+02:00"), "k": st.none() | st.text("abc", max_size=8),
})  # fmt: skip


@given(st.lists(MAYBE, min_size=1, max_size=5))
def test_a_missing_value_stays_missing_on_every_way(rows: list[dict[str, Any]]) -> None:
    inputs = PARTLY.read(rows)
    assert PARTLY.from_tensors(PARTLY.to_tensors(inputs), 1024).tobytes() == inputs.tobytes()
    assert PARTLY.read(json.loads(json.dumps(PARTLY.values(inputs)))).tobytes() == inputs.tobytes()
    assert PARTLY.unpack(PARTLY.pack(inputs), len(inputs)).tobytes() == inputs.tobytes()


@pytest.mark.parametrize("count", [0, 3, 50])
def test_a_synthetic_row_holds_nobody_s_name_and_nobody_s_number(count: int) -> None:
    rows = [{"yes": True, "n": 1000 + 37 * n, "x": n + 0.123, "at": None, "k": f"name{n}"} for n in range(count)]
    like = PARTLY.read(rows) if rows else PARTLY.example()[:0]
    synthetic = PARTLY.synthesize(200, np.random.default_rng(0), like)
    assert not {f"name{n}" for n in range(count)} & set(synthetic["k"].tolist())
    assert not set(like["x"].tolist()) & set(synthetic["x"].tolist())
    assert PARTLY.read(PARTLY.values(synthetic)).tobytes() == synthetic.tobytes()


def request(tensors: list[dict[str, Any]], tail: bytes = b"") -> np.ndarray:
    head = json.dumps({"inputs": tensors}).encode()
    parsed = protocol.parse(head + tail, str(len(head)) if tail else None, TABLE, Classification(("no", "yes")))
    return parsed.inputs


def tensor(name: str, values: list[Any], datatype: str = "FP64", **more: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [len(values), 1], "data": values, **more}


def test_the_protocol_takes_a_tensor_a_column_in_any_order_and_number_type() -> None:
    whole = [
        tensor("colour", ["red"], "BYTES"), tensor("new", [True], "BOOL"), tensor("count", [3], "INT64"),
        tensor("price", [9.5]),
    ]  # fmt: skip
    expected = TABLE.read([{"colour": "red", "new": True, "count": 3, "price": 9.5}])
    assert request(whole).tobytes() == expected.tobytes()
    sizes = np.array([3], "<i8").tobytes()
    packed = {"name": "count", "datatype": "INT64", "shape": [1], "parameters": {"binary_data_size": 8}}
    assert request([whole[0], whole[1], packed, whole[3]], sizes).tobytes() == expected.tobytes()
    for wrong, why in (
        ([*whole, tensor("other", [1])], "no column 'other'"),
        ([*whole, tensor("price", [1])], "sent twice"),
        ([*whole[:3], tensor("price", [1, 2])], "differ in length"),
        (whole[1:], "'colour' has no value"),
        ([{**whole[1], "data": ["false"], "datatype": "BYTES"}, whole[0], *whole[2:]], "no boolean"),
        ([{**whole[3], "data": 5}, *whole[:3]], "the data is not 1 values"),
        ([], "there is no input"),
        ([*whole[:2], tensor("count", ["x"]), *whole[3:]], "no integer"),
        ([{**whole[0], "shape": [1, 2]}, *whole[1:]], "the shape"),
    ):
        with pytest.raises(Refusal, match=why):
            request(wrong)
    assert np.isnan(request(whole[:3])["price"][0]), "a column that may be missing may be left out"
    assert request([*whole, tensor("shop", ["a"], "BYTES")]).tobytes() == expected.tobytes(), "no feature, and no error"
    with pytest.raises(Refusal, match="bytes"):
        request([{**packed, "parameters": {"binary_data_size": 4}}], sizes)


def test_rows_come_as_objects_as_columns_or_as_pandas_splits_them() -> None:
    rows = [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
    assert rows_of(rows, None, None) == rows
    assert rows_of(None, {"a": [1, 2], "b": ["x", "y"]}, None) == rows
    assert rows_of(None, None, {"index": [0, 1], "columns": ["a", "b"], "data": [[1, "x"], [2, "y"]]}) == rows
    for wrong, why in (
        ((None, None, None), "no rows"), ((rows, {"a": [1]}, None), "both rows and columns"),
        ((None, {"a": [1], "b": []}, None), "one length"), ((None, {"a": 1}, None), "one length"),
        ((None, {"a": [1] * 2000}, None), "there are 2000 rows"), ((rows * 600, None, None), "there are 1200 rows"),
        ((None, None, {"data": [[1]]}), "no lists"), ((None, None, {"columns": ["a"], "data": [[1, 2]]}), "row 0"),
    ):  # fmt: skip
        with pytest.raises(Refusal, match=why):
            rows_of(*wrong)


def test_a_row_in_the_model_card_shows_its_columns_the_heaviest_first() -> None:
    inputs = TABLE.read([cells(brand="<b>")])
    weighted = [(region, float(region[0])) for region in TABLE.regions(inputs, 64)]
    shown = str(show.attribution(TABLE.to_json(), TABLE.render(inputs), weighted))
    assert shown.index("brand = &lt;b&gt;") < shown.index("colour = red") < shown.index("price = 9.5")
    assert "shop" not in shown
    assert len(TABLE.regions(inputs, 2)) == 2


# --- files

SMALL = TableContract(
    columns=(Column("n", "number", missing=0.5), Column("name", "category", missing=0.5, length=20)), target="y"
)
LINES = [["n", "name", "y", "more"], ["1.5", "Zoë", "a", "1"], ["NA", "NA", "b", "2"], ["", "", "a", "3"]]


def csv_bytes(delimiter: str, encoding: str, newline: str = "\n") -> bytes:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator=newline).writerows(LINES)
    return text.getvalue().encode(encoding)


def read(
    contract: TableContract, path: Path, part: encoding.Part = encoding.ALL, layout: Layout = DETECTED
) -> list[dict[str, Any]]:
    tables = sources.read_encoded(contract, path, None, layout, lambda fact: None, part)
    return [row for table in tables for row in table.to_pylist()]


def values(path: Path) -> list[tuple[Any, Any]]:
    return [(json.loads(row["data"]), row["label"]) for row in read(SMALL, path)]


ODD = [
    "",
    " 1 ",
    "1_0",
    "nan",
    "NA",
    "-inf",
    "yes",
    "F",
    "e\u0301",
    "%s",
    "a\u2028b",
    "\0",
    "x" * 13,
    -0.0,
    5e-324,
    1e16,
]
ODD += [0, 1, 2, 2.5, 2**53, 2**53 + 1, 2.0**60, 10**400, -1, 1000.5, math.inf, math.nan, None, True, [1], "2024-05-01"]
ODD += ["2024-05-01T12:00:00.5+02:00", "0001-01-01T00:00:00+14:00", "1970-01-01T00:00:00Z"]
PLAIN: dict[str, st.SearchStrategy[Any]] = {
    "shop": st.text("aÖß7'\"\\%", min_size=1, max_size=9), "price": st.floats(0, 1000),
    "when": st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat), "count": st.integers(0, 10**6),
    "new": st.booleans(), "colour": st.sampled_from(["red", "green"]), "brand": st.sampled_from([None, "x", "Ö%"]),
    "sold": st.sampled_from(["yes", "no"]),
}  # fmt: skip


@st.composite
def plain_or_odd(draw: st.DrawFn) -> dict[str, Any]:
    """A row of which one cell may be odd."""
    row = draw(st.fixed_dictionaries(PLAIN))
    if draw(st.booleans()):
        row[draw(st.sampled_from(sorted(row)))] = draw(st.sampled_from(ODD))
    return row


def write_rows(path: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Writes rows as CSV or JSON lines; returns them with the types that they have when they are read."""
    with path.open("w", encoding="utf-8", newline="") as file:
        if path.suffix == ".jsonl":
            file.writelines(json.dumps(row) + "\n" for row in rows)
            return rows
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        texts = [
            {name: "" if cell is None else str(cell).replace("\0", "") for name, cell in row.items()} for row in rows
        ]
        writer.writerows(texts)
    return [{"sold": row["sold"]} | {each.name: each.parse(row[each.name]) for each in TABLE.columns} for row in texts]


def encoded_alone(contract: TableContract, name: str, row: dict[str, Any]) -> dict[str, Any]:
    """What `encoding.ROWS` has of a row, by the contract's own code."""
    cells = {each.name: row[each.name] for each in contract.columns}
    group = str(cells[contract.people]) if contract.people and cells[contract.people] else None
    record = Record(name, cells, tabular.text_of(row["sold"]), group=group)
    if contract.time and cells[contract.time]:
        try:
            at = float(contract.by_name(contract.time).read(cells[contract.time], name, show=False))
            record = record if math.isnan(at) else replace(record, captured_at=datetime.fromtimestamp(at, UTC))
        except Refusal as refusal:
            record = replace(record, problem=refusal)
        except (OverflowError, ValueError, OSError):
            what = f"the column {contract.time!r} has a value that is no time in seconds after 1970"
            record = replace(record, problem=Refusal(what, name, "Correct it"))
    return encoding.encode_record(record, contract)


ROLES: tuple[dict[str, str], ...] = (
    {}, {"id": "", "time": "when"}, {"time": "price"}, {"time": "count"}, {"people": "brand"}, {"people": "price"},
)  # fmt: skip


@settings(max_examples=300)
@given(st.lists(plain_or_odd(), min_size=1, max_size=9), st.sampled_from([".jsonl", ".csv"]), st.sampled_from(ROLES))
def test_a_row_among_others_is_encoded_as_if_it_were_alone(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], suffix: str, roles: dict[str, str]
) -> None:
    contract, path = replace(TABLE, **roles), tmp_path_factory.mktemp("rows") / f"rows{suffix}"
    typed = write_rows(path, rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tabular, "_ROWS", 3)
        encoded = read(contract, path)
    assert len(encoded) == len(rows)
    for row, cells in zip(encoded, typed, strict=True):
        alone = encoded_alone(contract, row["name"], cells)
        alone |= {"digest": None if row["digest"] is None else contract.digest(alone["data"], None)}
        assert row == alone


@settings(max_examples=50)
@given(st.integers(0, 11), st.none() | st.integers(0, 11), st.integers(-4, 4), st.sampled_from([".jsonl", ".csv"]))
def test_a_part_of_a_table_is_the_same_rows_however_many_are_read_together(
    tmp_path_factory: pytest.TempPathFactory, start: int, stop: int | None, every: int, suffix: str
) -> None:
    path = tmp_path_factory.mktemp("rows") / f"rows{suffix}"
    write_rows(path, [cells(shop=f"s{number}", sold="yes") for number in range(10)])
    whole = [row["name"] for row in itertools.islice(read(TABLE, path), start, stop)]
    wanted = [name for at, name in enumerate(whole) if not every or (at % abs(every) == 0) == (every > 0)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tabular, "_ROWS", 3)
        assert [row["name"] for row in read(TABLE, path, encoding.Part(start, stop, every))] == wanted


@pytest.mark.parametrize("damage", ['"open', "2,\xff,a"])
def test_damage_after_the_part_that_is_read_does_not_matter(damage: str, tmp_path: Path) -> None:
    lines = ["n,name,y", *["1,x,a"] * 3000, damage, "3,x,a"]
    (tmp_path / "a.csv").write_bytes("\n".join(lines).encode("latin-1"))
    assert len(read(SMALL, tmp_path / "a.csv", encoding.Part(stop=1000), Layout(encoding="utf-8"))) == 1000


def test_usual_rows_are_encoded_together(tmp_path: Path) -> None:
    assert all(row["digest"] for row in read(SHOPS, shops(tmp_path / "shops.csv")))


def test_a_wide_table_and_lines_of_commas_are_read_in_little_memory(tmp_path: Path) -> None:
    wide = TableContract(tuple(Column(f"x{at}", "number") for at in range(2000)), target="y")
    with (tmp_path / "wide.csv").open("w") as file:
        file.write(",".join([*(each.name for each in wide.columns), "y"]) + "\n")
        file.writelines(",".join(["1.5"] * 2000 + ["a"]) + "\n" for _ in range(1000))
    (tmp_path / "commas.csv").write_text("n,name,y\n1,x,a\n" + ("," * 60_000 + "\n") * 1000)
    limits = lake_sources.Limits(192 << 20, 1 << 30)
    (tmp_path / "scratch").mkdir()
    assert lake_sources.read(tmp_path / "wide.csv", wide, limits, tmp_path / "scratch").num_rows == 1000
    rows = lake_sources.read(tmp_path / "commas.csv", SMALL, limits, tmp_path / "scratch")
    assert rows["reason"].null_count == 1, "of 1,001 rows one is whole"


EXPECTED = [({"n": 1.5, "name": "Zoë"}, "a"), ({"n": None, "name": "NA"}, "b"), ({"n": None, "name": None}, "a")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_any_usual_csv_is_read(delimiter: str, encoding: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(csv_bytes(delimiter, encoding, "\r\n"))
    assert values(tmp_path / "a.csv") == EXPECTED


def parquet(path: Path) -> Path:
    table = pa.table({"n": [1.5, None, None], "name": ["Zoë", "NA", None], "y": ["a", "b", "a"]})
    pq.write_table(table, path)
    return path


def arrow(path: Path) -> Path:
    table = pa.table({"n": [1.5, None, None], "name": ["Zoë", "NA", None], "y": ["a", "b", "a"]})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    return path


def folder(path: Path) -> Path:
    """As Spark writes it."""
    path.mkdir()
    parquet(path / "part-00000-x.snappy.parquet")
    (path / "_SUCCESS").touch()
    return path


@pytest.mark.parametrize("write", [parquet, arrow, folder])
def test_parquet_arrow_and_a_folder_of_parquet_are_read(write: Callable[[Path], Path], tmp_path: Path) -> None:
    assert values(write(tmp_path / "table")) == EXPECTED


def test_a_file_without_a_column_says_which_and_what_it_has(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("n,y\n1,a\n")
    with pytest.raises(Refusal, match=r"no column 'name'.*Its columns are n, y"):
        read(SMALL, tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("n,n,name,y\n1,1,a,a\n")
    with pytest.raises(Refusal, match="'n' stands twice"):
        read(SMALL, tmp_path / "b.csv")
    (tmp_path / "c.csv").write_text("n,name,y\n1,a\n2,b,a\n")
    short, good = read(SMALL, tmp_path / "c.csv")
    assert "2 cells, not 3" in short["reason"]
    assert short["payload"] == b"1,a", "what came in is kept"
    assert good["reason"] is None


def test_one_damaged_character_does_not_make_a_file_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("n,name,y\n1,Zoë,a\n2,".encode() + b"\xff,a\n")
    with pytest.raises(Refusal, match="is not UTF-8, after line"):
        read(SMALL, tmp_path / "a.csv")


# --- through the lake


def recipe(path: Path, contract: TableContract, numbers: bool = False) -> Recipe:
    feed = Feed(path.name, every=-6)
    task: Any = Regression(-10, 100, close=1.0) if numbers else Classification(("no", "yes"))
    criteria: Any = RegressionCriteria(error=5.0) if numbers else Criteria(accuracy=0.6)
    return Recipe(
        name="shops", version=1, purpose="test", contract=contract, task=task, criteria=criteria, batches=(feed,),
        data=DataSet("shops_dir", (str(path.parent),), "", {path.name: digest(path)}), suite=Suite(min_rows=10),
        benchmark=Feed(path.name, every=6), training=Training(family="mlp"), show_inputs=True,
    )  # fmt: skip


SHOPS = TableContract(
    columns=(
        Column("id", "integer", feature=False), Column("customer", "category", feature=False),
        Column("x", "number", low=-100, high=100, missing=0.3), Column("kind", "category"),
        Column("leak", "number"),
    ),
    target="y", id="id", split_by="customer",
)  # fmt: skip


def shops(path: Path, count: int = 600, shift: float = 0.0) -> Path:
    chance = np.random.default_rng(0)
    with path.open("w") as file:
        file.write("id,customer,x,kind,leak,y\n")
        for n in range(count):
            x, y = chance.normal() + shift, chance.random() < 0.4
            row = n, f"c{n % 40}", "" if n % 10 == 0 else round(x, 3), "ab"[n % 2], round(y + x / 100, 4)
            file.write(",".join(map(str, (*row, "yes" if y else "no"))) + "\n")
    return path


def test_a_table_passes_ingest_suite_and_snapshot_and_no_customer_is_on_two_sides(home: Path, tmp_path: Path) -> None:
    own = recipe(shops(tmp_path / "shops.csv"), SHOPS)
    batch = ingest.land_feed(own, own.batches[0], "test")
    assert (batch.accepted, batch.quarantined) == (500, 0)
    frame = of_batch(own, ingest.lake(own.name), batch.id)
    assert {"x", "kind", "leak", "label"} <= set(frame.columns)
    assert not {"id", "customer"} & set(frame.columns), "what names a record always drifts"
    named = [expectation.column for expectation in suite(own)]
    assert {"x", "kind"} <= set(named)
    quarantine.admit_landed(ingest.lake(own.name), batch.id, "test")
    sides = snapshot.load(own, snapshot.take(own))
    assert sum(map(len, sides.values())) == 500
    assert sides["train"].inputs.dtype.names == ("x", "kind", "leak")
    rows = table.read(ingest.lake(own.name) / "records")
    assert rows is not None
    by_side = records.sides(SHOPS, rows)
    customers = [{json.loads(row)["customer"] for row in by_side[side]["row"].to_pylist()} for side in SIDES]
    assert sum(map(len, customers)) == len(set.union(*customers)) == 40
    row = by_side["test"].slice(0, 1).to_pylist()[0]
    assert records.side_of(SHOPS, row) == "test"


def test_a_corrected_file_with_the_same_ids_is_other_data(home: Path, tmp_path: Path) -> None:
    """A broken unit, say: the model of the wrong rows must not be taken for that of the right ones."""
    fingerprints = []
    for name, shift in (("shops.csv", 0.0), ("corrected.csv", 1.0)):
        own = recipe(shops(tmp_path / name, shift=shift), SHOPS)
        batch = ingest.land(own, tmp_path / name, "test")
        quarantine.admit_landed(ingest.lake(own.name), batch.id, "test")
        fingerprints.append(snapshot.take(own).fingerprint)
        quarantine.withdraw(ingest.lake(own.name), batch.id, "a broken unit", "test")
    assert fingerprints[0] != fingerprints[1]


def test_a_batch_of_numbers_can_be_refused_admitted_and_withdrawn(home: Path, tmp_path: Path) -> None:
    contract = TableContract(
        (Column("id", "integer", feature=False), Column("x", "number", missing=0.3)), "leak", id="id"
    )
    own = recipe(shops(tmp_path / "shops.csv"), contract, numbers=True)
    home = ingest.lake(own.name)
    (tmp_path / "bad.csv").write_text("id,x,leak\n1,oops,1.5\n2,1.0,1.5\n")
    assert ingest.land(own, tmp_path / "bad.csv", "test").quarantined == 1, "a single record comes first"
    batch = ingest.land_feed(own, own.batches[0], "test")
    labels = table.read(home / "landing", ["label"], where=("batch", batch.id))
    quarantine.refuse_landed(home, batch.id, "its suite failed", "test")
    assert quarantine.admit(home, batch.id, "test", "it is fine") == 500
    admitted = table.read(home / "records", ["label"], where=("batch", batch.id))
    assert labels is not None
    assert admitted is not None
    assert sorted(admitted["label"].to_pylist()) == sorted(labels["label"].to_pylist())
    assert quarantine.withdraw(home, batch.id, "after all not", "test") == (500, True)
    assert len(quarantine.show(home, batch.id)) == 500


def test_older_rows_that_do_not_fit_changed_columns_are_named(home: Path, tmp_path: Path) -> None:
    own = recipe(shops(tmp_path / "shops.csv"), SHOPS)
    batch = ingest.land_feed(own, own.batches[0], "test")
    quarantine.admit_landed(ingest.lake(own.name), batch.id, "test")
    for column in (Column("kind", "number"), Column("customer", "category", length=1, feature=False)):
        changed = replace(SHOPS, columns=tuple(column if c.name == column.name else c for c in SHOPS.columns))
        with pytest.raises(Refusal, match="older rows do not fit the recipe's columns"):
            snapshot.load(replace(own, contract=changed), snapshot.take(own))
    added = replace(SHOPS, columns=(*SHOPS.columns, Column("later", "number", missing=1.0)))
    assert np.isnan(snapshot.load(replace(own, contract=added), snapshot.take(own))["train"].inputs["later"]).all()


@given(st.lists(st.integers(0, 60), min_size=1, max_size=200))
def test_a_split_by_time_trains_on_what_came_before_and_tests_on_the_newest(minutes: list[int]) -> None:
    at = pa.array([datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=each) for each in minutes])
    rows = pa.table({"captured_at": at.cast(pa.timestamp("us", "UTC")), "record": [f"{n:04}" for n in range(len(at))]})
    by_side = split.by_time(rows)
    records_ = [record for side in by_side.values() for record in side["record"].to_pylist()]
    assert sorted(records_) == rows["record"].to_pylist()
    moments = [by_side[name]["captured_at"].to_pylist() for name in SIDES]
    for before, after in itertools.combinations([each for each in moments if each], 2):
        assert max(before) < min(after)
    assert moments[2], "the newest are always tested on"
    assert len(moments[0]) <= 0.9 * len(minutes)


def test_a_split_by_time_needs_a_time_and_says_where_a_record_is(home: Path, tmp_path: Path) -> None:
    columns = (
        Column("id", "integer", feature=False), Column("x", "number"), Column("at", "timestamp", feature=False)
    )  # fmt: skip
    with pytest.raises(ValueError, match="the split 'time' is not"):
        TableContract(columns, "y", split="time")
    contract = TableContract(columns, "y", id="id", time="at", split="time")
    assert records.is_in_order(contract)
    assert records.side_of(contract, {}) == "by time"
    lines = [f"{n},{n % 9},2024-01-01T{n // 60:02}:{n % 60:02}:00Z,{('no', 'yes')[n % 2]}" for n in range(600)]
    (tmp_path / "events.csv").write_text("id,x,at,y\n" + "\n".join(lines))
    own = recipe(tmp_path / "events.csv", contract)
    batch = ingest.land_feed(own, own.batches[0], "test")
    quarantine.admit_landed(ingest.lake(own.name), batch.id, "test")
    sides = snapshot.load(own, snapshot.take(own))
    assert [len(sides[side]) for side in SIDES] == [450, 25, 25]


def test_the_weights_of_rows_reach_the_training_with_a_mean_of_one(home: Path, tmp_path: Path) -> None:
    columns = (Column("x", "number"), Column("worth", "number", low=0, feature=False))
    contract = TableContract(columns, "y", weight="worth")

    def inputs(name: str, worth: Callable[[int], int]) -> NetworkInputs:
        lines = [f"{n},{worth(n)},{('no', 'yes')[n % 2]}" for n in range(600)]
        (tmp_path / f"{name}.csv").write_text("x,worth,y\n" + "\n".join(lines))
        own = replace(recipe(tmp_path / f"{name}.csv", contract), name=name)
        batch = ingest.land_feed(own, own.batches[0], "test")
        quarantine.admit_landed(ingest.lake(own.name), batch.id, "test")
        return training_inputs(own, own.training, snapshot.take(own), tmp_path)

    given = inputs("some", lambda n: n % 4)
    assert given.sample_weights
    for side, weights in zip(("train", "validation"), given.sample_weights, strict=True):
        by_row = given.sides[side].inputs["x"] % 4
        assert np.allclose(weights / weights.max(), by_row / 3)
    assert given.sample_weights[0].mean() == pytest.approx(1)
    with pytest.raises(Refusal, match="the weight of every record of the train side is 0"):
        inputs("none", lambda n: 0)


def test_rows_without_a_value_to_split_by_are_on_any_side(home: Path) -> None:
    contract = TableContract(
        (Column("x", "number"), Column("c", "category", missing=1.0, feature=False)), "y", split_by="c"
    )
    kept = [contract.encode({"x": n, "c": None}, "") for n in range(400)]
    digests = [contract.digest(row, None) for row in kept]
    rows = pa.table({"row": [row.decode() for row in kept], "input": digests, "record": digests})
    assert all(side.num_rows for side in records.sides(contract, rows).values())


def test_groups_of_people_are_a_column_of_the_table(tmp_path: Path) -> None:
    contract = replace(SHOPS, people="kind")
    first, second = read(contract, shops(tmp_path / "shops.csv", 2))
    assert (first["group"], second["group"]) == ("a", "b")


def test_what_a_table_drifts_in_is_named_by_column(home: Path, tmp_path: Path) -> None:
    frames = []
    for name, shift in (("shops.csv", 0.0), ("later.csv", 3.0)):
        own = replace(recipe(shops(tmp_path / name, 1200, shift), SHOPS), name=f"shops-{shift:.0f}")
        batch = ingest.land_feed(own, own.batches[0], "test")
        frames.append(summarize(of_batch(own, ingest.lake(own.name), batch.id), ("class_share",)))
    indices = {each.column: each.index for each in drift([frames[0]], [frames[1]])}
    assert indices["x"] > 0.25
    assert indices["kind"] < 0.1
    assert indices["label"] < 0.1


def test_a_column_that_tells_the_answer_is_found(home: Path, tmp_path: Path) -> None:
    own = recipe(shops(tmp_path / "shops.csv"), SHOPS)
    batch = ingest.land_feed(own, own.batches[0], "test")
    quarantine.admit_landed(ingest.lake(own.name), batch.id, "test")
    (check,) = _one_column(own, snapshot.load(own, snapshot.take(own))["train"])
    assert check.outcome == "failed"
    assert "leak alone saves" in check.detail
    honest = replace(SHOPS, columns=(*SHOPS.columns[:-1], Column("leak", "number", feature=False)))
    (check,) = _one_column(
        replace(own, contract=honest), snapshot.load(replace(own, contract=honest), snapshot.take(own))["train"]
    )
    assert check.outcome == "passed"


@given(st.integers(0, 2**32 - 1))
def test_a_column_of_names_or_of_noise_tells_nothing(seed: int) -> None:
    chance = np.random.default_rng(seed)
    losses = 1 - np.eye(2)[chance.integers(0, 2, 400)]
    for values in (np.arange(400).astype(str), chance.normal(size=400), np.full(400, np.nan)):
        assert association.explained(association.bins(values), losses) < 0.25


def test_slices_of_a_table_are_its_categories_and_thirds_of_its_numbers() -> None:
    contract = TableContract((Column("x", "number", missing=0.5), Column("k", "category")), target="y")
    inputs = contract.read([{"x": None if n % 5 == 0 else n, "k": "ab"[n % 2]} for n in range(100)])
    by = evaluation.slices(contract)
    assert {name: int(mask.sum()) for name, mask in by["k"](inputs).items()} == {"k a": 50, "k b": 50, "other k": 0}
    numbers = {name: int(mask.sum()) for name, mask in by["x"](inputs).items()}
    assert numbers["no x"] == 20
    assert sum(numbers.values()) == 100


def test_a_table_that_cannot_be_is_refused_when_the_recipe_is_read() -> None:
    for wrong, why in (
        (lambda: Column("a", "float"), "choose from: number"),
        (lambda: Column("", "number"), "no name of a column"),
        (lambda: Column("a", "number", low=2, high=1), "low is above high"),
        (lambda: TableContract((Column("a", "number"),), target="a"), "would leak it"),
        (lambda: TableContract((Column("a", "number"),) * 2, target="b"), "stands twice"),
        (lambda: TableContract((Column("a", "number", feature=False),), target="b"), "no column is a feature"),
        (lambda: TableContract((Column("a", "number"),), target="b", id="c"), "the id 'c' is no column"),
    ):
        with pytest.raises(ValueError, match=why):
            wrong()


def test_times_are_seconds_and_a_time_column_says_when_a_record_was_captured() -> None:
    contract = replace(TABLE, time="when")
    text = "2024-05-01T12:00:00+02:00"
    seconds = datetime.fromisoformat(text).timestamp()
    assert TABLE.read([cells(when=text)])["when"][0] == seconds
    assert TABLE.read([cells(when=datetime.fromtimestamp(seconds, UTC))])["when"][0] == seconds
    assert contract.values(contract.read([ROW]))[0]["when"] == "2024-05-01T10:00:00+00:00"


REVIEWS = TableContract(
    columns=(Column("stars", "integer", low=1, high=5), Column("said", "text", missing=0.5, most=20, length=200)),
    target="y",
)


def test_a_text_in_a_table_is_read_by_its_words_and_no_rare_word_is_learned() -> None:
    texts = ["good, Really good", "bad", "good bad", "नमस्ते good", "", "secretname bad"] * 5
    inputs = REVIEWS.read([{"stars": 3, "said": text or None} for text in texts])
    inputs = np.concatenate([inputs, REVIEWS.read([{"stars": 3, "said": "only once"}])])
    vocabulary = REVIEWS.learn_vocabulary(inputs)
    words = json.loads(vocabulary[1])["words"]
    assert {"good", "bad", "नमस्ते"} <= set(words)
    assert not {"only", "once"} & set(words)
    features = REVIEWS.features(REVIEWS.read([{"stars": 1, "said": "GOOD unknown\nbad"}, {"stars": 5}]), vocabulary)
    assert features.shape == (2, 21)
    assert {words[at] for at in np.flatnonzero(features[0, 1:])} == {"good", "bad"}
    assert not features[1, 1:].any()
    assert REVIEWS.categories() == ()


def test_synthetic_texts_hold_frequent_words_alone() -> None:
    said = ["good day"] * 9 + ["my name is Somebody"]
    like = REVIEWS.read([{"stars": 3, "said": text} for text in said])
    synthetic = REVIEWS.synthesize(50, np.random.default_rng(0), like)
    assert set(" ".join(synthetic["said"].tolist()).split()) == {"good", "day"}


def test_prose_in_a_table_is_outlined_as_text(home: Path, tmp_path: Path) -> None:
    lines = [
        f"{n % 5},{'fine' if n % 3 else 'poor'} item number x{n} here,{'yes' if n % 3 else 'no'}" for n in range(300)
    ]
    (tmp_path / "reviews.csv").write_text("stars,said,label\n" + "\n".join(lines))
    contract = outline(tmp_path / "reviews.csv", Given()).contract
    assert contract.by_name("said").type == "text"  # type: ignore[attr-defined]
    frame = records.statistics(contract, [{"row": json.dumps({"stars": 1, "said": "two words"})}])  # type: ignore[arg-type]
    assert frame["said"] == [2]


def test_the_form_of_an_accent_makes_no_other_category() -> None:
    column = Column("place", "category", values=("cafe\u0301", "bar"))
    assert column.read("caf\u00e9", "it") == column.read("cafe\u0301", "it") == "caf\u00e9"


def test_a_table_is_split_by_a_time_that_every_row_has() -> None:
    for type_, missing in (("category", 0.0), ("timestamp", 0.5)):
        columns = Column("x", "number"), Column("at", type_, missing=missing, feature=False)
        with pytest.raises(ValueError, match="is no timestamp that every row has"):
            TableContract(columns, "y", time="at", split="time")
