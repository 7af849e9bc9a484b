"""The one paired comparison of two models, by the loss of each record. Pure.

A candidate is compared with the champion on the benchmark and on its slices, a variant with the one in full
precision, a perturbed input with the original, and a forecast with a baseline: each is this test of non-inferiority.
"""

from dataclasses import dataclass, replace

import numpy as np

from ratchet.answers import Answers
from ratchet.evaluation.bootstrap import difference, ratio
from ratchet.types import Check, Outcome, Role


@dataclass(frozen=True)
class Margin:
    """How much larger than the other's the mean loss may be."""

    value: float
    inclusive: bool = False
    """Whether a difference of exactly the margin passes."""
    must_be_smaller: bool = False
    """Whether a difference of exactly the margin fails, instead of being inconclusive."""
    relative: bool = False
    """Whether `value` is a share of the other's mean loss instead of a difference."""
    block: int = 1
    """Neighbouring records that are not independent and are resampled together."""
    min_blocks: int = 1
    """Blocks below which an interval means nothing."""


def losses_of(answers: Answers, targets: np.ndarray, outputs: np.ndarray) -> np.ndarray | None:
    """The loss of each record, or None if there is not one finite output for every record."""
    if not len(targets) or outputs.ndim != 2 or outputs.shape[0] != len(targets):
        return None
    if targets.ndim == 2 and outputs.shape != targets.shape:
        return None
    return answers.losses(targets, outputs) if np.isfinite(outputs).all() else None


def no_worse(
    name: str, margin: Margin, losses: np.ndarray | None, others: np.ndarray | None, other: str, role: Role = "check"
) -> Check:
    """Passes if the whole interval of the difference, or of the ratio minus 1, is within the margin."""
    if losses is None or others is None or len(losses) != len(others):
        detail = "outputs of one of the two are missing for some records"
        return Check(name, None, margin.value, "error", detail, role=role)
    if len(losses) < margin.min_blocks * margin.block:
        detail = f"{len(losses)} records; at least {margin.min_blocks * margin.block} are needed"
        return Check(name, None, margin.value, "inconclusive", detail, role=role)
    value, low, high = ratio(losses, others, margin.block) if margin.relative else difference(losses, others)
    if not np.isfinite([value, low, high]).all():
        # A share of nothing has no meaning: a rival without an error leaves no margin.
        margin = replace(margin, value=0.0, relative=False, inclusive=True)
        value, low, high = difference(losses, others)
    if margin.relative:
        figures = f"{value:+.1%} (95 % from {low:+.1%} to {high:+.1%}), margin {margin.value:+.0%}"
    else:
        figures = f"{value:+.4f} (95 % from {low:+.4f} to {high:+.4f}), margin {margin.value:+}"
    passed = high < margin.value or (margin.inclusive and high == margin.value)
    failed = value > margin.value or (margin.must_be_smaller and value == margin.value)
    outcome: Outcome = "passed" if passed else "failed" if failed else "inconclusive"
    detail = f"error {losses.mean():.4g} of {len(losses)} records, {others.mean():.4g} for {other}: {figures}"
    return Check(name, value, margin.value, outcome, detail, low, high, role)
