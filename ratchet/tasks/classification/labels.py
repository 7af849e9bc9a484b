"""Classes as labels: the lake keeps a class's number."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ratchet.errors import Refusal
from ratchet.expectation import Expectation
from ratchet.suite import Suite
from ratchet.tasks.classification.answers import Classification

TYPE = pa.int32()


def reader(answers: Classification) -> Callable[[str | None], int]:
    """Reads a class's name, or its number."""
    names = answers.classes
    numbers = {str(i): i for i in range(len(names))} | {name: i for i, name in enumerate(names)}

    def read(label: str | None) -> int:
        if label in numbers:
            return numbers[label]
        # A column of numbers with a gap is read as decimals by many tools.
        whole = str(label).removesuffix(".0")
        decimal = whole != str(label) and whole in numbers
        hint = ": it is a decimal number; write whole numbers, or names" if decimal else ""
        raise Refusal(f"is not one of the {len(names)} classes{hint}", str(label), "Correct the label")

    return read


def describe(answers: Classification, label: int | None) -> str:
    return "" if label is None else answers.classes[label]


def counts(answers: Classification, labels: Sequence[int | None]) -> Mapping[str, int]:
    return Counter(answers.classes[label] for label in labels if label is not None)


def targets(labels: np.ndarray) -> np.ndarray:
    """Numbers of classes [N]."""
    return labels


def statistics(labels: Sequence[int | None]) -> dict[str, Any]:
    """`label`, and `class_share`, which is the share of records with the same label."""
    sizes = Counter(labels)
    return {"label": list(labels), "class_share": [sizes[label] / len(labels) for label in labels]}


def expectations(answers: Classification, suite: Suite) -> tuple[Expectation, ...]:
    count, share = len(answers.classes), suite.min_class_share
    known = {"column": "label", "value_set": list(range(count))}
    complete = {"column": "label", "min_value": count, "max_value": count}
    balanced = {"column": "class_share", "min_value": share}
    rarest = f"the rarest class has at least {share:.0%} of the rows"
    return (
        Expectation("ExpectColumnValuesToBeInSet", known, f"one of {count} labels", "label"),
        Expectation("ExpectColumnUniqueValueCountToBeBetween", complete, f"all {count} classes are present", "label"),
        Expectation("ExpectColumnMinToBeBetween", balanced, rarest, "class_share"),
    )
