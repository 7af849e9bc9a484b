"""Several labels of one record: the lake keeps their names, in the recipe's order, with a separator between them."""

import json
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
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
    folded = {name.casefold() for name in known}

    def read(label: str | None) -> str:
        if label is None and not answers.none:
            return ""
        if label is None:
            what = f"is missing; a record without labels says {answers.none!r}, or what MultiLabel(none=...) says"
            raise Refusal(what, "", "Correct the label")
        names = split(label, answers.separator, answers.none)
        if "" in names:
            what = f"has an empty name; {answers.separator!r} stands between names"
            raise Refusal(what, label, "Correct the label")
        if unknown := names - known.keys():
            near = all(name.casefold() in folded for name in unknown)
            hint = ": it differs from one in case alone" if near else ""
            what = f"has a name that is none of the {answers.width} labels{hint}"
            raise Refusal(what, label, "Correct the label")
        return answers.separator.join(name for spelled, name in known.items() if spelled in names) or answers.none

    return read


def split(label: str, separator: str, none: str) -> set[str]:
    """The names in a label: of a list in JSON, or with separators between them."""
    if label.startswith("["):
        with suppress(ValueError, RecursionError):
            return {str(name).strip() for name in json.loads(label)} - {none}
    return set() if label.strip() == none else {name.strip() for name in label.split(separator)}


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


def statistics(answers: MultiLabel, labels: Sequence[str | None]) -> dict[str, Any]:
    """`label`, a list of a record's; and of the batch the share of its rarest label, and how many no record has."""
    names = [_names(answers, label) if label is not None else [] for label in labels]
    counts = Counter(name for each in names for name in each)
    shares = {name: count / len(labels) for name, count in counts.items()}
    rarest = [min((shares[name] for name in each), default=1.0) for each in names]
    return {"label": names, "label_share": rarest, "absent_labels": [answers.width - len(counts)] * len(names)}


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


def _names(answers: MultiLabel, label: str) -> list[str]:
    return [] if label == answers.none else label.split(answers.separator)
