"""Whether one group of people is served worse than another. Pure.

Asked for is equal opportunity: that the records of a class are recognised as often in every group.
Source: Hardt and others, Equality of Opportunity in Supervised Learning, 2016 (arXiv:1610.02413); the figures are
fairlearn's, the interval of a difference of two shares is Newcombe's (Statistics in Medicine 17, 1998, method 10).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from models.judge.share import interval
from ratchet.words import Check, Outcome

LEAST = 30
"""Records of the class that a group must have to say anything."""


def shares(right: np.ndarray, groups: np.ndarray) -> Mapping[str, tuple[float, int]]:
    """Share of the answers [N] that were right, and how many there were, in each of the groups [N] of names."""
    from fairlearn.metrics import MetricFrame, count

    frame = MetricFrame(
        metrics={"share": lambda _, told: float(np.mean(told)), "count": count},
        y_true=np.ones(len(right)), y_pred=right, sensitive_features=groups,
    )  # fmt: skip
    rows = frame.by_group.to_dict("index")
    return {str(name): (float(row["share"]), int(row["count"])) for name, row in rows.items()}


def gap(one: tuple[float, int], other: tuple[float, int]) -> tuple[float, float, float]:
    """The difference of two shares without sign, and how small and how large it may be."""
    (p, low, high), (q, below, above) = (one[0], *interval(*one)), (other[0], *interval(*other))
    if p < q:
        (p, low, high), (q, below, above) = (q, below, above), (p, low, high)
    least, most = p - q - math.hypot(p - low, above - q), p - q + math.hypot(high - p, q - below)
    return p - q, max(0.0, least), max(abs(least), most)


def checks(
    asked: Mapping[str, float], declared: Sequence[str], classes: Sequence[str], labels: np.ndarray,
    answered: np.ndarray, groups: np.ndarray | None,
) -> list[Check]:  # fmt: skip
    """One check a class that is asked for: passes when no two declared groups may differ by more than the bound.

    `labels` and `answered` are numbers of classes [N]; `groups` names [N], empty where a record belongs to none.
    """
    if not asked:
        return [Check("fairness", None, None, "not asked", "the recipe names no gap between groups")]
    if groups is None or len(groups) != len(labels):
        groups = np.full(len(labels), "")
    return [_check(name, classes.index(name), most, declared, labels, answered, groups) for name, most in asked.items()]


def _check(
    name: str, number: int, most: float, declared: Sequence[str], labels: np.ndarray, answered: np.ndarray,
    groups: np.ndarray,
) -> Check:  # fmt: skip
    told, mask = f"fair to groups, class {name}", (labels == number) & np.isin(groups, list(declared))
    if not mask.any():
        return Check(told, None, most, "error", "no record of it in the benchmark names a group")
    found = dict.fromkeys(declared, (0.0, 0)) | dict(shares(answered[mask] == number, groups[mask]))
    if few := [f"{group} {n}" for group, (_, n) in found.items() if n < LEAST]:
        return Check(told, None, most, "inconclusive", f"each group needs {LEAST} records of it: {', '.join(few)}")
    gaps = {pair: gap(found[pair[0]], found[pair[1]]) for pair in itertools.combinations(sorted(found), 2)}
    pair = max(gaps, key=lambda p: gaps[p][0])
    figure, low, _ = gaps[pair]
    high = max(most_ for _, _, most_ in gaps.values())
    outcome: Outcome = "pass" if high <= most else "fail" if figure > most else "inconclusive"
    each = ", ".join(f"{group} {share:.1%} of {n}" for group, (share, n) in sorted(found.items()))
    detail = f"recognised: {each}; the gap between {pair[0]} and {pair[1]} is {figure:.3f}, at most {high:.3f} (95 %)"
    return Check(told, figure, most, outcome, f"{detail}, allowed {most}", low, high)
