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


def test_rows_are_read_and_a_heading_is_left_out() -> None:
    assert labels.read(["request,label", "a,boot", "", " b , bag "], CLASSES, "x.csv") == {"a": 1, "b": 0}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a,boot", "b,hat"], "no class 'hat'.*line 2"),
        (["a,boot,3"], "not `request id,class`.*line 1"),
        ([",boot"], "not `request id,class`"),
        (["x" * 65 + ",boot"], "not `request id,class`"),
        (["a b,boot"], "not `request id,class`"),
        ([], "holds no label"),
        ([f"{i},bag" for i in range(labels.MAX_LABELS + 1)], "more than"),
    ],
)
def test_a_file_with_a_bad_row_is_refused_as_a_whole(rows: list[str], message: str) -> None:
    with pytest.raises(Refusal) as refused:
        labels.read(rows, CLASSES, "x.csv")
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
