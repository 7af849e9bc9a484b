"""Labels that come back: each answer is compared with its own, once, whichever comes first."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.answers import Answers
from ratchet.errors import Refusal
from ratchet.settings import settings
from ratchet.tasks.classification import Classification
from ratchet.tasks.forecast import Forecast
from ratchet.tasks.multilabel import MultiLabel
from ratchet.tasks.regression import Regression
from releases import label_file
from releases.labels import Labelled
from releases.ledger import LABELS_KEPT, Ledger

BAG_OR_BOOT = Classification(("bag", "boot"))


def read(text: str, answers: Answers = BAG_OR_BOOT) -> dict[tuple[str, int], str]:
    return label_file.read(text, answers, "shoes", "x.csv")


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("heading", ["", "request|label", "x-request-id|class", "Request ID|Label"])
def test_a_file_from_any_system_is_read_whole(newline: str, delimiter: str, encoding: str, heading: str) -> None:
    rows = [*([heading.replace("|", delimiter)] if heading else []), f"a{delimiter}boot", "", f" b {delimiter} bag "]
    content = newline.join(rows).encode(encoding)
    assert read(label_file.decode(content, "x.csv")) == {("a", 0): "boot", ("b", 0): "bag"}


def test_a_class_with_the_other_delimiter_in_its_name_is_read() -> None:
    answers = Classification(("bag", "boots, high"))
    assert read("a;boots, high\nb;bag", answers) == {("a", 0): "boots, high", ("b", 0): "bag"}
    assert read('a,"boots, high"', answers) == {("a", 0): "boots, high"}


def test_a_row_of_a_batch_and_labels_of_every_task_are_read() -> None:
    assert read("id,row,label\na,2,boot\na,0,bag") == {("a", 2): "boot", ("a", 0): "bag"}
    assert read("a,12.5\nb,-3", Regression(-5, 20, close=1)) == {("a", 0): "12.5", ("b", 0): "-3"}
    assert read("a,x|y\nb,none", MultiLabel(("x", "y"))) == {("a", 0): "x|y", ("b", 0): "none"}
    with pytest.raises(Refusal, match=r"the label '21' is outside -5\.\.20.*line 1"):
        read("a,21", Regression(-5, 20, close=1))
    with pytest.raises(Refusal, match=r"no labels.*Ingest the actual values"):
        read("a,1", Forecast(24, close=1))


def test_a_heading_is_left_out_only_at_the_top_and_only_if_it_is_one() -> None:
    assert read("id,boot") == {("id", 0): "boot"}
    with pytest.raises(Refusal, match=r"the label 'label' is not one of the 2 classes.*line 2"):
        read("a,boot\nrequest,label")


def test_a_file_in_another_encoding_is_refused() -> None:
    with pytest.raises(Refusal, match="Save it as a CSV in UTF-8"):
        label_file.decode("a,Schuhgröße".encode("latin-1"), "x.csv")


@given(st.binary(max_size=60))
def test_no_bytes_end_in_anything_but_labels_or_a_sentence(content: bytes) -> None:
    try:
        assert read(label_file.decode(content, "x.csv"))
    except Refusal as refusal:
        assert refusal.next


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a,boot", "b,hat"], "the label 'hat' is not one of the 2 classes.*line 2.*bag, boot"),
        (["a,boot,3"], "not `request id,label`.*line 1"),
        ([",boot"], "not `request id,label`"),
        (["x" * 65 + ",boot"], "not `request id,label`"),
        (["a;boot", "b,bag"], "not `request id;label`.*line 2"),
        ([], "holds no label"),
        (["x" * 200_000], "cannot be read"),
        ([f"{i},bag" for i in range(label_file.MAX_LABELS + 1)], "more than"),
    ],
)
def test_a_file_with_a_bad_row_is_refused_as_a_whole(rows: list[str], message: str) -> None:
    with pytest.raises(Refusal) as refused:
        read("\n".join(rows))
    assert re.search(message, str(refused.value))


@given(
    st.permutations([(kind, side, i) for i in range(4) for kind, side in (("answer", 0), ("answer", 1), ("label", 0))])
)
def test_each_answer_counts_once_in_whatever_order_things_come(order: list[tuple[str, int, int]]) -> None:
    labelled = Labelled()
    for kind, side, i in order:
        if kind == "label":
            labelled.add_labels({str(i): 0})
            labelled.add_labels({str(i): 0})
        else:
            labelled.add_answer(side, str(i), i % 2 if side else 0)
    assert (labelled.total, labelled.wrong) == ([4, 4], [0, 2])


def test_an_id_that_is_sent_many_times_counts_once() -> None:
    labelled = Labelled()
    labelled.add_labels({"a": 0})
    for _ in range(100):
        labelled.add_answer(1, "a", 1)
    assert (labelled.total, labelled.wrong) == ([0, 1], [0, 1])


def test_the_ledger_keeps_labels_for_a_while(home: object) -> None:
    ledger = Ledger(settings().ledger)
    ledger.add_labels("small-fashion", {"a": 1, "b": 0}, 100.0)
    ledger.add_labels("small-fashion", {"b": 1}, 200.0)
    assert ledger.labels_since("small-fashion", 0) == {"a": 1, "b": 1}
    assert ledger.labels_since("small-fashion", 150) == {"b": 1}
    ledger.add_labels("small-fashion", {"c": 0}, 150 + LABELS_KEPT)
    assert ledger.labels_since("small-fashion", 0) == {"b": 1, "c": 0}


def test_a_request_with_two_labels_is_refused_and_the_same_label_twice_counts_once() -> None:
    assert read("a,boot\na,boot") == {("a", 0): "boot"}
    with pytest.raises(Refusal, match=r"the request a is 'bag' here, and 'boot' above: x\.csv, line 2"):
        read("a,boot\na,bag")


def test_the_first_line_that_excel_writes_is_no_label() -> None:
    assert read("sep=;\na;boot") == {("a", 0): "boot"}


def test_an_id_that_cannot_be_printed_is_refused() -> None:
    with pytest.raises(Refusal, match="64 printable characters"):
        read("a\0b,boot")
