"""Several labels of one record: the lake keeps their names, in the recipe's order, with a separator between them."""

import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ratchet.errors import Refusal
from ratchet.expectation import Expectation
from ratchet.suite import Suite
from ratchet.tasks.multilabel.answers import MultiLabel

TYPE = pa.string()


def reader(answers: MultiLabel) -> Callable[[str | None], str]:
    """Reads names of labels in any order, or the word for none; the result has the recipe's order."""
    known = {unicodedata.normalize("NFC", name): name for name in answers.labels}

    def read(label: str | None) -> str:
        if label is None:
            what = f"is missing; a record without labels says {answers.none!r}"
            raise Refusal(what, "", "Correct the label")
        if label.strip() == answers.none:
            return answers.none
        names = {name.strip() for name in label.split(answers.separator)}
        if unknown := sorted(names - known.keys()):
            what = f"has {unknown[0][:40]!r}, none of the {answers.width} labels"
            raise Refusal(f"{what} that {answers.separator!r} separates", label, "Correct the label")
        return answers.separator.join(name for spelled, name in known.items() if spelled in names)

    return read


def check(answers: MultiLabel, labels: Collection[str]) -> None:
    """Any labels may stand together."""


def describe(answers: MultiLabel, label: str | None) -> str:
    return ", ".join(_names(answers, label)) if label else ""


def counts(answers: MultiLabel, labels: Sequence[str | None]) -> Mapping[str, int]:
    """Records by label; one with several counts for each of them."""
    return Counter(name for label in labels if label is not None for name in _names(answers, label))


def targets(answers: MultiLabel, labels: np.ndarray) -> np.ndarray:
    """0 or 1 for each label, float32 [N, labels]."""
    places = {name: place for place, name in enumerate(answers.labels)}
    result = np.zeros((len(labels), answers.width), np.float32)
    for row, label in enumerate(labels.tolist()):
        for name in _names(answers, label):
            result[row, places[name]] = 1
    return result


def statistics(answers: MultiLabel, labels: Sequence[str | None]) -> dict[str, Any]:
    """`labels`, the number of a record's, and `label_share`, which is the share of records with its rarest one."""
    names = [_names(answers, label) if label is not None else [] for label in labels]
    shares = {name: count / len(labels) for name, count in Counter(name for each in names for name in each).items()}
    rarest = [min((shares[name] for name in each), default=1.0) for each in names]
    return {"labels": [len(each) for each in names], "label_share": rarest}


def expectations(answers: MultiLabel, suite: Suite) -> tuple[Expectation, ...]:
    share = suite.min_class_share
    says = f"the rarest label has at least {share:.0%} of the rows"
    limits = {"column": "label_share", "min_value": share}
    return (Expectation("ExpectColumnMinToBeBetween", limits, says, "label_share", "min_class_share"),)


def _names(answers: MultiLabel, label: str) -> list[str]:
    return [] if label == answers.none else label.split(answers.separator)
