"""Whether the benchmark leaked into training, and whether its own labels are wrong. Pure."""

from collections.abc import Mapping, Sequence

import numpy as np

from ratchet.evaluation.proportion import interval
from ratchet.types import Check, Outcome


def near_duplicates(near: np.ndarray, right: np.ndarray, maximum: float | None) -> Check:
    """Passes if at most that share of the benchmark [N] is `near` a training record."""
    name = "near-duplicates across sides"
    if maximum is None:
        return Check(name, None, None, "skipped", "the recipe sets no limit")
    value = float(near.mean())
    rest = f"{right[~near].mean():.4f} without them, {right.mean():.4f} with" if (~near).any() else "none is left"
    outcome: Outcome = "passed" if value <= maximum else "failed"
    detail = f"{value:.2%} of {len(near)} records nearly duplicate a training record; accuracy {rest}"
    return Check(name, value, maximum, outcome, f"{detail}; limit {maximum:.0%}", *interval(value, len(near)))


def unseen(what: str, share: float, maximum: float | None) -> Check:
    """Passes if at most that share of what the benchmark consists of is new to the model."""
    name, detail = f"unseen {what}", f"{share:.1%} of the benchmark's {what} are new to the model"
    if maximum is None:
        return Check(name, share, None, "skipped", f"{detail}; the recipe sets no limit")
    outcome: Outcome = "passed" if share <= maximum else "failed"
    why = "" if outcome == "passed" else ": training has too few records, or the benchmark is of another kind"
    return Check(name, share, maximum, outcome, f"{detail}, limit {maximum:.0%}{why}")


def one_column(shares: Mapping[str, float], maximum: float | None) -> Check:
    """Passes if no column alone saves more than that share of the best constant's error."""
    name = "one column alone"
    if maximum is None:
        return Check(name, None, None, "skipped", "the recipe sets no limit")
    column = max(shares, key=lambda each: shares[each])
    value = shares[column]
    outcome: Outcome = "passed" if value <= maximum else "failed"
    detail = f"{column} alone saves {value:.1%} of the best constant's error; limit {maximum:.0%}"
    why = "" if outcome == "passed" else ": is it known when a prediction is needed? If not, give it feature=False"
    return Check(name, value, maximum, outcome, f"{detail}{why}")


def suspects(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Indices of the records whose label the model contradicts with confidence, most confident first.

    Each class has a threshold: its mean probability over the records with that label. A label is suspect if the model
    predicts another class, and some other class reaches its threshold.
    Source: Northcutt and others, Confident Learning, 2021 (arXiv:1911.00068), section 3.1.
    """
    count = probabilities.shape[1]
    thresholds = np.full(count, np.inf)  # a class without a label has none
    for number in np.unique(labels):
        thresholds[number] = probabilities[labels == number, number].mean()
    other = probabilities.copy()
    other[np.arange(len(labels)), labels] = 0.0
    confidence = np.where(other >= thresholds, other, 0.0).max(axis=1)
    contradicted = np.flatnonzero((confidence > 0) & (probabilities.argmax(axis=1) != labels))
    return contradicted[np.argsort(-confidence[contradicted], kind="stable")]


def label_errors(labels: np.ndarray, probabilities: np.ndarray, records: Sequence[str], maximum: float | None) -> Check:
    """Passes if at most that share of the labels [N] is suspect; `records` are digests [N], the first are named."""
    name = "label errors"
    if maximum is None:
        return Check(name, None, None, "skipped", "the recipe sets no limit")
    suspect = suspects(labels, probabilities)
    value = len(suspect) / len(labels)
    outcome: Outcome = "passed" if value <= maximum else "failed"
    first = ", ".join(str(records[i])[:12] for i in suspect[:5])
    which = f"; the first records are {first} (`ratchet show RECIPE RECORD`)" if first else ""
    detail = f"{value:.2%} of {len(labels)} labels are suspect, limit {maximum:.0%}{which}"
    return Check(name, value, maximum, outcome, detail, *interval(value, len(labels)))
