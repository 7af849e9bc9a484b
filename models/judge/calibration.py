"""Whether a probability means what it says; and the one number that mends most of it. Pure.

Source: Guo and others, On Calibration of Modern Neural Networks, 2017 (arXiv:1706.04599).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ratchet.words import Check, Outcome

BINS, LEAST_RECORDS = 15, 100
_DRAWS = 200
LEAST = 1e-7
"""Below it a probability is no smaller: its logarithm must be a number."""
_TEMPERATURES = np.exp(np.linspace(np.log(0.25), np.log(8.0), 141))


def reliability(labels: np.ndarray, probabilities: np.ndarray) -> tuple[tuple[float, float, int], ...]:
    """(mean confidence, share that was right, records) of each of `BINS` equal bins that holds any.

    Of labels [N] and probabilities [N, classes].
    """
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    place = np.minimum((sure * BINS).astype(int), BINS - 1)
    return tuple(
        (float(sure[place == b].mean()), float(right[place == b].mean()), int((place == b).sum()))
        for b in range(BINS)
        if (place == b).any()
    )


def error(bins: Sequence[tuple[float, float, int]]) -> float:
    """The expected calibration error: how far confidence and accuracy are apart, on average over the records."""
    whole = sum(n for _, _, n in bins)
    return sum(abs(sure - right) * n for sure, right, n in bins) / whole if whole else float("nan")


def scaled(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """The softmax of the logits over a temperature, float32 [N, classes]; the largest stays the largest."""
    logits = np.log(np.maximum(probabilities.astype(np.float64), LEAST)) / temperature
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (raised / raised.sum(axis=1, keepdims=True)).astype(np.float32)


def temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The one of a fixed grid that makes labels [N] likeliest under probabilities [N, classes].

    1 where there are fewer than `LEAST_RECORDS`: a few records would have it at an end of the grid.
    """
    if len(labels) < LEAST_RECORDS:
        return 1.0
    rows = np.arange(len(labels))
    losses = [-np.log(np.maximum(scaled(probabilities, t)[rows, labels], LEAST)).mean() for t in _TEMPERATURES]
    return float(_TEMPERATURES[int(np.argmin(losses))])


def check(labels: np.ndarray, probabilities: np.ndarray, most: float | None) -> Check:
    if most is None:
        return Check("calibration", None, None, "not asked", "the recipe does not ask for it")
    figure = error(reliability(labels, probabilities))
    outcome: Outcome = "error" if not np.isfinite(figure) else "pass" if figure <= most else "fail"
    detail = f"expected calibration error {figure:.4f}, at most {most}"
    return Check("calibration", figure, most, outcome, detail, *_interval(labels, probabilities))


def _interval(labels: np.ndarray, probabilities: np.ndarray) -> tuple[float, float] | tuple[()]:
    """Of the error at 95 %, by drawing the records again; it is told and decides nothing, since draws lie above it."""
    if not len(labels):
        return ()
    chance = np.random.default_rng(0)
    drawn = [chance.integers(len(labels), size=len(labels)) for _ in range(_DRAWS)]
    low, high = np.quantile([error(reliability(labels[i], probabilities[i])) for i in drawn], [0.025, 0.975])
    return float(low), float(high)
