"""Labels that come back: each answer is compared with its own, once, whichever comes first."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.errors import Refusal
from ratchet.settings import settings
from releases import labels
from releases.labels import Labelled
from releases.ledger import LABELS_KEPT, Ledger

CLASSES = ("bag", "boot")


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("heading", ["", "request|label", "x-request-id|class", "Request ID|Label"])
def test_a_file_from_any_system_is_read_whole(newline: str, delimiter: str, encoding: str, heading: str) -> None:
    rows = [*([heading.replace("|", delimiter)] if heading else []), f"a{delimiter}boot", "", f" b {delimiter} bag "]
    content = newline.join(rows).encode(encoding)
    assert labels.read(labels.decode(content, "x.csv"), CLASSES, "x.csv") == {"a": 1, "b": 0}


def test_a_class_with_the_other_delimiter_in_its_name_is_read() -> None:
    assert labels.read("a;boots, high\nb;bag", ("bag", "boots, high"), "x.csv") == {"a": 1, "b": 0}
    assert labels.read('a,"boots, high"', ("bag", "boots, high"), "x.csv") == {"a": 1}


def test_a_heading_is_left_out_only_at_the_top_and_only_if_it_is_one() -> None:
    assert labels.read("id,boot", CLASSES, "x.csv") == {"id": 1}
    with pytest.raises(Refusal, match=r"no class 'label'.*line 2"):
        labels.read("a,boot\nrequest,label", CLASSES, "x.csv")


def test_a_file_in_another_encoding_is_refused() -> None:
    with pytest.raises(Refusal, match="Save it as a CSV in UTF-8"):
        labels.decode("a,Schuhgröße".encode("latin-1"), "x.csv")


@given(st.binary(max_size=60))
def test_no_bytes_end_in_anything_but_labels_or_a_sentence(content: bytes) -> None:
    try:
        assert labels.read(labels.decode(content, "x.csv"), CLASSES, "x.csv")
    except Refusal as refusal:
        assert refusal.next


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a,boot", "b,hat"], "no class 'hat'.*line 2"),
        (["a,boot,3"], "not `request id,class`.*line 1"),
        ([",boot"], "not `request id,class`"),
        (["x" * 65 + ",boot"], "not `request id,class`"),
        (["a b,boot"], "not `request id,class`"),
        (["a;boot", "b,bag"], "not `request id;class`.*line 2"),
        ([], "holds no label"),
        (["x" * 200_000], "cannot be read"),
        ([f"{i},bag" for i in range(labels.MAX_LABELS + 1)], "more than"),
    ],
)
def test_a_file_with_a_bad_row_is_refused_as_a_whole(rows: list[str], message: str) -> None:
    with pytest.raises(Refusal) as refused:
        labels.read("\n".join(rows), CLASSES, "x.csv")
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
    assert labels.read("a,boot\na,boot", CLASSES, "x.csv") == {"a": 1}
    with pytest.raises(Refusal, match=r"the request a is 'bag' here, and 'boot' above: x\.csv, line 2"):
        labels.read("a,boot\na,bag", CLASSES, "x.csv")


def test_the_first_line_that_excel_writes_is_no_label() -> None:
    assert labels.read("sep=;\na;boot", CLASSES, "x.csv") == {"a": 1}


def test_an_id_that_cannot_be_printed_is_refused() -> None:
    with pytest.raises(Refusal, match="64 printable characters"):
        labels.read("a\0b,boot", CLASSES, "x.csv")
