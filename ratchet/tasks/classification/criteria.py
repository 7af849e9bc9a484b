"""What a recipe requires of an evaluation of classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ratchet.bounds import Positive, Share, known, require_names
from ratchet.kinds import parts
from ratchet.tasks.classification.answers import Classification

if TYPE_CHECKING:
    from ratchet.recipe import Recipe


@dataclass(frozen=True)
class Criteria:
    """Thresholds on the benchmark, and the margin within which a candidate counts as no worse than the champion.

    A criterion that is None or empty is skipped, and the report lists it as skipped.
    """

    accuracy: Share = 0.88
    worst_class: Share = 0.5
    margin: Share = 0.01
    slices: tuple[str, ...] = ()
    """Slices that are compared one by one: `class`, and thirds by `brightness` (images) or `length` (texts)."""
    slice_margin: Share = 0.1
    balanced_accuracy: Share | None = None
    """Minimum mean of the recalls of the classes, which a rare class moves as much as a frequent one."""
    average_precision: Share | None = None
    """Minimum mean of the classes' average precisions: how well probabilities rank each class before the others."""
    calibration: Share | None = None
    """Maximum expected calibration error."""
    invariance: Mapping[str, Share] = field(default_factory=dict)
    """Perturbations, and the minimum share of predictions that must not change."""
    robustness: Mapping[str, Share] = field(default_factory=dict)
    """Perturbations, and the maximum loss of accuracy."""
    directional: Mapping[str, str] = field(default_factory=dict)
    """Words that are added to a text, and the class whose probability they must not lower."""
    examples: Mapping[str, str] = field(default_factory=dict)
    """Texts, and the class that must be predicted for each."""
    membership: Share | None = None
    """Maximum advantage of a membership inference attack."""
    fairness: Mapping[str, Share] = field(default_factory=dict)
    """Classes, and the maximum difference in recall between groups of people."""
    near_duplicates: Share | None = None
    """Maximum share of the benchmark that nearly duplicates a training record."""
    label_errors: Share | None = None
    """Maximum share of the benchmark whose label the model contradicts with confidence."""
    better_than_constant: bool = True
    """Whether a model must be better than always predicting the most frequent class. For rare events none may be."""
    one_column: Share | None = 0.3
    """Maximum share of the best constant's error that one column of a table saves alone; more is suspected to leak."""
    unseen: Share | None = 0.5
    """Maximum share of the benchmark's tokens or categories that are new to the model."""
    latency_ms: Positive | None = None
    """Maximum median latency of one prediction on one core."""
    size_mb: Positive | None = None
    """Maximum size of the model's files."""


CRITERIA = Criteria


def without_thresholds(criteria: Criteria) -> Criteria:
    """Comparisons alone: what a model of few records must be is another matter."""
    own = Criteria(accuracy=0.0, worst_class=0.0, margin=criteria.margin, slices=criteria.slices)
    return replace(own, slice_margin=criteria.slice_margin, better_than_constant=criteria.better_than_constant,
                   one_column=criteria.one_column, unseen=criteria.unseen)  # fmt: skip


def accepts(family: str) -> bool:
    """Every family does."""
    return True


def check(recipe: Recipe) -> None:
    """Raises ValueError if answers, criteria and the rest of the recipe do not fit together."""
    answers, criteria, kind = recipe.answers, recipe.criteria, recipe.contract.kind
    assert isinstance(answers, Classification)
    assert isinstance(criteria, Criteria)
    require_names("classes", answers.classes)
    if len(answers.classes) < 2:
        raise ValueError(f"there are {len(answers.classes)} classes: name at least two")
    if answers.numbered and (number := next((name for name in answers.classes if name.isdecimal()), "")):
        raise ValueError(f"labels are numbers of classes, and {number!r} is a class's name: leave `numbered` out")
    if recipe.suite.min_class_share * len(answers.classes) > 1:
        what = f"{len(answers.classes)} classes cannot each have {recipe.suite.min_class_share:.0%} of the rows"
        raise ValueError(f"{what}: lower min_class_share")
    inputs = parts.evaluation(kind)
    known("perturbation", [*criteria.invariance, *criteria.robustness], inputs.PERTURBATIONS)
    if (criteria.examples or criteria.directional) and not inputs.prefixed:
        raise ValueError(f"`examples` and `directional` need a kind of words, and not {kind}")
    if criteria.near_duplicates is not None and not inputs.near:
        raise ValueError(f"near-duplicates of the kind {kind} cannot be found: leave the limit out")
    if criteria.fairness and len(recipe.groups) < 2:
        raise ValueError("fairness is a difference between groups: name at least two in `groups`")
    named = [*criteria.examples.values(), *criteria.directional.values(), *criteria.fairness]
    known("class", named, answers.classes)
