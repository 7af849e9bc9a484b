"""Behavioural checks: how predictions respond to a change of the input whose effect is known. Pure.

After Ribeiro and others, Beyond Accuracy: Behavioral Testing of NLP Models with CheckList, 2020 (arXiv:2005.04118).
"""

import numpy as np

from ratchet.answers import Answers
from ratchet.evaluation.comparison import Margin, losses_of, no_worse
from ratchet.evaluation.proportion import interval
from ratchet.types import Check, Outcome

_NOISE, _MIN_SHARE = 0.1, 0.95


def invariance(perturbation: str, before: np.ndarray, after: np.ndarray, minimum: float) -> Check:
    """Passes if at least that share of the outputs [N, classes] predicts the same class after the perturbation."""
    name = f"invariance to {perturbation}"
    if before.shape != after.shape or not np.isfinite(after).all() or not len(after):
        return Check(name, None, minimum, "error", "there is not an output for every perturbed input")
    return _share(name, before.argmax(axis=1) == after.argmax(axis=1), minimum, "predictions do not change")


def robustness(
    answers: Answers, perturbation: str, labels: np.ndarray, before: np.ndarray, after: np.ndarray, maximum: float
) -> Check:
    """Passes if the perturbation costs at most that much accuracy, interval included."""
    losses, others = losses_of(answers, labels, after), losses_of(answers, labels, before)
    return no_worse(
        f"robustness to {perturbation}", Margin(maximum, inclusive=True), losses, others, "the original inputs"
    )


def directional(words: str, class_: str, before: np.ndarray, after: np.ndarray) -> Check:
    """Passes if adding the words lowers the probability [N] of a class in at most one text of twenty.

    A decrease of at most 0.1 is noise (CheckList, section 2.2).
    """
    name = f"{words[:40]!r} does not lower {class_}"
    return _share(name, after >= before - _NOISE, _MIN_SHARE, f"texts keep their probability of {class_}")


def follows_level(before: np.ndarray, after: np.ndarray, shift: float, minimum: float) -> Check:
    """Passes if that share of the forecasts [N, horizon] rises with windows that are raised by `shift`.

    A forecast rises with its window if its mean rises by 0.5 to 1.5 times the shift.
    """
    moved = (after - before).mean(axis=1) / shift
    name = "directional: follows the level"
    return _share(name, (moved > 0.5) & (moved < 1.5), minimum, f"forecasts follow windows raised by {shift:.3g}")


def _share(name: str, holds: np.ndarray, minimum: float, what: str) -> Check:
    value = float(holds.mean())
    outcome: Outcome = "passed" if value >= minimum else "failed"
    detail = f"{value:.2%} of {len(holds)} {what}; at least {minimum:.0%} must"
    return Check(name, value, minimum, outcome, detail, *interval(value, len(holds)))


def minimum_functionality(text: str, class_: str, predicted: str, probability: float) -> Check:
    """Minimum functionality: one input whose class is known."""
    outcome: Outcome = "passed" if predicted == class_ else "failed"
    detail = f"{predicted} ({probability:.1%}), expected {class_}"
    return Check(f"example {text[:40]!r}", probability, None, outcome, detail)
