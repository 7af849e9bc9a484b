"""Whether predictions reveal that a record was trained on. Pure.

The attack knows the probability of the true label, and takes every record above a threshold for a training record.
Its advantage is the true positive rate minus the false positive rate of the best threshold.
Source: Yeom and others, Privacy Risk in Machine Learning: Analyzing the Connection to Overfitting, 2018
(arXiv:1709.01604). The interval is that of Dvoretzky, Kiefer, Wolfowitz with Massart's constant, for both sides.
"""

import math

import numpy as np

from ratchet.types import Check, Outcome

LEVEL = 0.95


def advantage(members: np.ndarray, others: np.ndarray) -> tuple[float, float, float]:
    """(advantage, low, high) from the probabilities of the true labels of training records [N] and of others [M]."""
    grid = np.sort(np.concatenate([members, others]))
    rates = [1 - np.searchsorted(np.sort(side), grid, side="left") / len(side) for side in (members, others)]
    value = float((rates[0] - rates[1]).max())
    width = sum(math.sqrt(math.log(4 / (1 - LEVEL)) / (2 * len(side))) for side in (members, others))
    return value, max(value - width, 0.0), min(value + width, 1.0)


def check(members: np.ndarray, others: np.ndarray, maximum: float | None) -> Check:
    """Passes if the whole interval is at most `maximum`."""
    name = "membership inference"
    if maximum is None:
        return Check(name, None, None, "skipped", "the recipe sets no limit")
    if not len(members) or not len(others) or not np.isfinite(np.concatenate([members, others])).all():
        return Check(name, None, maximum, "error", "there are not finite outputs for both sides")
    value, low, high = advantage(members, others)
    outcome: Outcome = "passed" if high <= maximum else "failed" if value > maximum else "inconclusive"
    figures = f"advantage {value:.3f} (95 % from {low:.3f} to {high:.3f}), limit {maximum}"
    detail = f"{figures}; {len(members)} training records, {len(others)} others"
    return Check(name, value, maximum, outcome, detail, low, high)
