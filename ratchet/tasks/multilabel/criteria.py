"""What a recipe requires of an evaluation of several labels."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ratchet.bounds import Positive, Share, require_names
from ratchet.tasks.multilabel.answers import MultiLabel

if TYPE_CHECKING:
    from ratchet.recipe import Recipe


@dataclass(frozen=True)
class MultiLabelCriteria:
    """Thresholds on the benchmark, and the margin within which a candidate counts as no worse than the champion.

    A criterion that is None is skipped, and the report lists it as skipped.
    """

    accuracy: Share
    """Minimum share of labels that are right, which is 1 minus the Hamming loss."""
    f1: Share | None = None
    """Minimum F1 over all labels of all records together (micro)."""
    worst_label: Share | None = None
    """Minimum F1 of the worst label."""
    average_precision: Share | None = None
    """Minimum mean of the labels' average precisions: how well probabilities rank each label's records first."""
    margin: Share = 0.01
    slices: tuple[str, ...] = ()
    """Slices that are compared one by one: `label`, and those of the kind of input."""
    slice_margin: Share = 0.1
    better_than_constant: bool = True
    """Whether a model must be better than always predicting the labels that most records have."""
    one_column: Share | None = 0.3
    """Maximum share of the best constant's error that one column of a table saves alone; more is suspected to leak."""
    unseen: Share | None = 0.5
    """Maximum share of the benchmark's tokens or categories that are new to the model."""
    latency_ms: Positive | None = None
    """Maximum median latency of one prediction on one core."""
    size_mb: Positive | None = None
    """Maximum size of the model's files."""


CRITERIA = MultiLabelCriteria


def without_thresholds(criteria: MultiLabelCriteria) -> MultiLabelCriteria:
    """Comparisons alone."""
    own = replace(criteria, accuracy=0.0, f1=None, worst_label=None, average_precision=None)
    return replace(own, latency_ms=None, size_mb=None)


def accepts(family: str) -> bool:
    """Trees predict one class or one number."""
    return family != "boosting"


def check(recipe: Recipe) -> None:
    """Raises ValueError if a label could not be read."""
    answers = recipe.answers
    assert isinstance(answers, MultiLabel)
    require_names("labels", answers.labels)
    if len(answers.labels) < 2:
        raise ValueError("there are not two labels: one alone is a Classification of two classes")
    if not answers.separator.strip():
        raise ValueError("the separator of the labels is blank: give a character such as '|'")
    require_names("none", (answers.none,) if answers.none else ())
    if answers.none != unicodedata.normalize("NFC", answers.none.strip()):
        raise ValueError(f"`none` is {answers.none!r}, which no label is: write it without blanks at its ends, in NFC")
    for name in answers.labels:
        if answers.separator in name or name == answers.none or name != name.strip():
            what = f"the label {name!r} has the separator {answers.separator!r} or blanks at an end, or is `none`"
            raise ValueError(f"{what}: give another separator or another `none`")
