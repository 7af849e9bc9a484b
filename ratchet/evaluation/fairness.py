"""Whether one group of people is served worse than another. Pure.

The criterion is equal opportunity: the recall of a class is the same in every group.
Source: Hardt and others, Equality of Opportunity in Supervised Learning, 2016 (arXiv:1610.02413). The recalls are
fairlearn's; the interval of a difference of two proportions is Newcombe's (Statistics in Medicine 17, 1998, method 10).
"""

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from ratchet.evaluation.proportion import interval
from ratchet.types import Check, Outcome

MIN_RECORDS = 30
"""Records of the class that a group needs."""
Recall = tuple[float, int]
"""A recall, and the number of records that it is of."""


def recalls(right: np.ndarray, groups: np.ndarray) -> Mapping[str, Recall]:
    """The share of right predictions [N], and their number, in each of the named groups [N]."""
    from fairlearn.metrics import MetricFrame, count

    metrics = {"share": lambda _, predictions: float(np.mean(predictions)), "count": count}
    frame = MetricFrame(metrics=metrics, y_true=np.ones(len(right)), y_pred=right, sensitive_features=groups)
    rows = frame.by_group.to_dict("index")
    return {str(name): (float(row["share"]), int(row["count"])) for name, row in rows.items()}


def gap(one: Recall, other: Recall) -> tuple[float, float, float]:
    """The absolute difference of two recalls with its interval (low, high)."""
    larger, smaller = sorted((one, other), reverse=True)
    (p, _), (p_low, p_high) = larger, interval(*larger)
    (q, _), (q_low, q_high) = smaller, interval(*smaller)
    low = p - q - math.hypot(p - p_low, q_high - q)
    high = p - q + math.hypot(p_high - p, q - q_low)
    return p - q, max(0.0, low), max(abs(low), high)


def checks(
    limits: Mapping[str, float],
    groups: Sequence[str],
    classes: Sequence[str],
    labels: np.ndarray,
    predicted: np.ndarray,
    group_of: np.ndarray | None,
) -> list[Check]:
    """One check for each class with a limit: passes if no two groups can differ in recall by more than that.

    `labels` and `predicted` are numbers of classes [N]; `group_of` names [N], empty for a record without a group.
    """
    if not limits:
        return [Check("fairness", None, None, "skipped", "the recipe sets no limit")]
    if group_of is None or len(group_of) != len(labels):
        group_of = np.full(len(labels), "")
    results, known = [], np.isin(group_of, list(groups))
    for class_, limit in limits.items():
        number = classes.index(class_)
        mask = known & (labels == number)
        results.append(_check(f"fairness, class {class_}", limit, groups, predicted[mask] == number, group_of[mask]))
    return results


def _check(name: str, limit: float, groups: Sequence[str], right: np.ndarray, group_of: np.ndarray) -> Check:
    """For the records of one class: whether each prediction [N] is right, and each record's group [N]."""
    if not len(right):
        return Check(name, None, limit, "error", "no record of this class in the benchmark names a group")
    by_group = dict.fromkeys(groups, (0.0, 0)) | dict(recalls(right, group_of))
    if few := [f"{group} {n}" for group, (_, n) in by_group.items() if n < MIN_RECORDS]:
        detail = f"each group needs {MIN_RECORDS} records of it: {', '.join(few)}"
        return Check(name, None, limit, "inconclusive", detail)
    gaps = {pair: gap(by_group[pair[0]], by_group[pair[1]]) for pair in itertools.combinations(sorted(by_group), 2)}
    pair = max(gaps, key=lambda p: gaps[p][0])
    value, low, _ = gaps[pair]
    high = max(high for _, _, high in gaps.values())
    outcome: Outcome = "passed" if high <= limit else "failed" if value > limit else "inconclusive"
    each = ", ".join(f"{group} {recall:.1%} of {n}" for group, (recall, n) in sorted(by_group.items()))
    largest = f"the largest gap, between {pair[0]} and {pair[1]}, is {value:.3f} (95 % up to {high:.3f})"
    return Check(name, value, limit, outcome, f"recall: {each}; {largest}, limit {limit}", low, high)
