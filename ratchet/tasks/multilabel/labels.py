"""Several labels of one record: the lake keeps their names, in the recipe's order, with a separator between them."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ratchet.errors import Refusal
from ratchet.expectation import Expectation
from ratchet.suite import Suite
from ratchet.tasks.multilabel.answers import MultiLabel

TYPE = pa.string()


def expected(answers: MultiLabel) -> tuple[str, ...]:
    return answers.labels


def check(answers: MultiLabel, labels: Collection[str]) -> None:
    """Any labels may stand together."""


def describe(answers: MultiLabel, label: str | None) -> str:
    return ", ".join(_names(answers, label)) if label else ""


def counts(answers: MultiLabel, labels: Sequence[str | None]) -> Mapping[str, int]:
    """Records by label; one with several counts for each of them."""
    return Counter(name for label in labels if label is not None for name in _names(answers, label))


def targets(answers: MultiLabel, labels: np.ndarray) -> np.ndarray:
    """0 or 1 for each label, float32 [N, labels]. Raises Refusal if the recipe has left one of a record out."""
    places = {name: place for place, name in enumerate(answers.labels)}
    result = np.zeros((len(labels), answers.width), np.float32)
    for row, label in enumerate(labels.tolist()):
        for name in _names(answers, label):
            if name not in places:
                what = f"older records have the label {name!r}, which the recipe no longer names"
                raise Refusal(what, "the lake", "Name it again, or give the recipe another name")
            result[row, places[name]] = 1
    return result


SHARES = ("label_share", "absent_labels")


def statistics(
    answers: MultiLabel, labels: Sequence[str | None], label_counts: Mapping[str | None, int]
) -> dict[str, Any]:
    """`label`, a list of a record's; and of the batch the share of its rarest label, and how many no record has."""
    total, by_name = sum(label_counts.values()), Counter[str]()
    for label, count in label_counts.items():
        by_name.update(dict.fromkeys(_names(answers, label), count))
    names = [_names(answers, label) for label in labels]
    rarest = [min((by_name[name] / total for name in each), default=1.0) for each in names]
    return {"label": names, "label_share": rarest, "absent_labels": [answers.width - len(by_name)] * len(names)}


def expectations(answers: MultiLabel, suite: Suite) -> tuple[Expectation, ...]:
    share, count = suite.min_class_share, answers.width
    present = (
        f"all {count} labels come" if not suite.missing_classes else f"{suite.missing_classes} labels may not come"
    )
    says = f"the rarest label has at least {share:.0%} of the rows"
    rarest = {"column": "label_share", "min_value": share}
    absent = {"column": "absent_labels", "max_value": suite.missing_classes}
    return (
        Expectation("ExpectColumnMaxToBeBetween", absent, present, "label", "missing_classes", names=answers.labels),
        Expectation("ExpectColumnMinToBeBetween", rarest, says, "label_share", "min_class_share"),
    )


def _names(answers: MultiLabel, label: str | None) -> list[str]:
    return [] if label is None or label == answers.none else label.split(answers.separator)
