"""Whether probabilities are calibrated, and the temperature that calibrates them. Pure.

Source: Guo and others, On Calibration of Modern Neural Networks, 2017 (arXiv:1706.04599).
"""

from collections.abc import Sequence

import numpy as np

from ratchet.types import Bins, Check, Outcome

BINS, MIN_RECORDS = 15, 100
_DRAWS = 200
MIN_PROBABILITY = 1e-7
"""A smaller probability is raised to this one, so that its logarithm is finite."""
_TEMPERATURES = np.exp(np.linspace(np.log(0.25), np.log(8.0), 141))


def reliability(labels: np.ndarray, probabilities: np.ndarray) -> Bins:
    """(mean confidence, accuracy, records) of each of `BINS` equal bins that is not empty.

    From labels [N] and probabilities [N, classes].
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    masks = [bins == number for number in range(BINS) if (bins == number).any()]
    return tuple((float(confidence[m].mean()), float(right[m].mean()), int(m.sum())) for m in masks)


def expected_calibration_error(bins: Sequence[tuple[float, float, int]]) -> float:
    """The expected calibration error: the mean distance of confidence and accuracy over the records."""
    total = sum(n for _, _, n in bins)
    if not total:
        return float("nan")
    return sum(abs(confidence - accuracy) * n for confidence, accuracy, n in bins) / total


def apply_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """The softmax of the logits divided by the temperature, float32 [N, classes]; the predicted class is the same."""
    logits = np.log(np.maximum(probabilities.astype(np.float64), MIN_PROBABILITY)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The temperature of a fixed grid that maximizes the likelihood of labels [N] under probabilities [N, classes].

    It is 1 for fewer than `MIN_RECORDS` records, which could have their maximum at an end of the grid.
    """
    if len(labels) < MIN_RECORDS:
        return 1.0
    rows = np.arange(len(labels))
    losses = [
        -np.log(np.maximum(apply_temperature(probabilities, t)[rows, labels], MIN_PROBABILITY)).mean()
        for t in _TEMPERATURES
    ]
    return float(_TEMPERATURES[int(np.argmin(losses))])


def check(labels: np.ndarray, probabilities: np.ndarray, maximum: float | None) -> Check:
    if maximum is None:
        return Check("calibration", None, None, "skipped", "the recipe sets no limit")
    value = expected_calibration_error(reliability(labels, probabilities))
    outcome: Outcome = "error" if not np.isfinite(value) else "passed" if value <= maximum else "failed"
    detail = f"expected calibration error {value:.4f}, limit {maximum}"
    return Check("calibration", value, maximum, outcome, detail, *_interval(labels, probabilities))


def _interval(labels: np.ndarray, probabilities: np.ndarray) -> tuple[float, float] | tuple[()]:
    """The 95 % interval of the error by resampling. It decides nothing, since resampled errors are biased upwards."""
    if not len(labels):
        return ()
    rng = np.random.default_rng(0)
    samples = [rng.integers(len(labels), size=len(labels)) for _ in range(_DRAWS)]
    errors = [expected_calibration_error(reliability(labels[sample], probabilities[sample])) for sample in samples]
    low, high = np.quantile(errors, [0.025, 0.975])
    return float(low), float(high)
