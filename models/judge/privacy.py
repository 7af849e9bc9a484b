"""Whether an answer betrays that a record was trained on. Pure.

The attack asks only how likely the model finds the true label, and takes whatever lies above a threshold for a
record that was trained on. Its advantage is the best threshold's true positives less its false ones.
Source: Yeom and others, Privacy Risk in Machine Learning: Analyzing the Connection to Overfitting, 2018
(arXiv:1709.01604). Its interval is that of Dvoretzky, Kiefer, Wolfowitz with Massart's constant, for both sides.
"""

from __future__ import annotations

import math

import numpy as np

from ratchet.words import Check, Outcome

LEVEL = 0.95


def advantage(members: np.ndarray, others: np.ndarray) -> tuple[float, float, float]:
    """(advantage, low, high) from the likelihoods of the true labels of records trained on [N], and of others [M]."""
    grid = np.sort(np.concatenate([members, others]))
    above = [1 - np.searchsorted(np.sort(side), grid, side="left") / len(side) for side in (members, others)]
    figure = float((above[0] - above[1]).max())
    room = sum(math.sqrt(math.log(4 / (1 - LEVEL)) / (2 * len(side))) for side in (members, others))
    return figure, max(figure - room, 0.0), min(figure + room, 1.0)


def check(members: np.ndarray, others: np.ndarray, most: float | None) -> Check:
    """Passes when the whole interval lies at or below `most`."""
    name = "membership inference"
    if most is None:
        return Check(name, None, None, "not asked", "the recipe does not ask for it")
    if not len(members) or not len(others) or not np.isfinite(np.concatenate([members, others])).all():
        return Check(name, None, most, "error", "there are not answers to both sides")
    figure, low, high = advantage(members, others)
    outcome: Outcome = "pass" if high <= most else "fail" if figure > most else "inconclusive"
    detail = f"advantage {figure:.3f} (95 % from {low:.3f} to {high:.3f}), at most {most}; "
    return Check(name, figure, most, outcome, f"{detail}{len(members)} trained on, {len(others)} not", low, high)
