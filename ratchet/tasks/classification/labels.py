"""Classes as labels: the lake keeps a class's number."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ratchet.errors import Refusal
from ratchet.expectation import Expectation
from ratchet.suite import Suite
from ratchet.tasks.classification.answers import Classification

TYPE = pa.int32()


def check(answers: Classification, labels: Collection[str]) -> None:
    """Raises Refusal if they are numbers of classes that are counted from 1."""
    last = str(len(answers.classes))
    if answers.numbered and last in labels and "0" not in labels:
        what = f"its labels go up to {last} and none is 0: classes are counted from 0"
        raise Refusal(what, "the labels", "Subtract 1 from each, or write the names of the classes")


def describe(answers: Classification, label: int | None) -> str:
    return "" if label is None else answers.classes[label]


def expected(answers: Classification) -> tuple[str, ...]:
    return answers.classes


def counts(answers: Classification, labels: Sequence[int | None]) -> Mapping[str, int]:
    return Counter(answers.classes[label] for label in labels if label is not None)


def targets(answers: Classification, labels: np.ndarray) -> np.ndarray:
    """Numbers of classes [N]."""
    return labels


SHARES: tuple[str, ...] = ("class_share",)


def statistics(
    answers: Classification, labels: Sequence[int | None], label_counts: Mapping[int | None, int]
) -> dict[str, Any]:
    """`label`, and `class_share`, which is the share of the batch's records with the same label, by `label_counts`."""
    total = sum(label_counts.values())
    shares = {label: count / total for label, count in label_counts.items()}
    return {"label": list(labels), "class_share": [shares[label] for label in labels]}


def expectations(answers: Classification, suite: Suite) -> tuple[Expectation, ...]:
    count, share, names = len(answers.classes), suite.min_class_share, answers.classes
    least = max(1, count - suite.missing_classes)
    known = {"column": "label", "value_set": list(range(count))}
    complete = {"column": "label", "min_value": least, "max_value": count}
    balanced = {"column": "class_share", "min_value": share}
    present = f"all {count} classes are present" if least == count else f"{least} of the {count} classes are present"
    rarest = f"the rarest class has at least {share:.0%} of the rows"
    return (
        Expectation("ExpectColumnValuesToBeInSet", known, f"one of {count} labels", "label"),
        Expectation(
            "ExpectColumnUniqueValueCountToBeBetween", complete, present, "label", "missing_classes", names=names
        ),
        Expectation("ExpectColumnMinToBeBetween", balanced, rarest, "class_share", "min_class_share"),
    )
