"""Thresholds on the benchmark that hold whatever the champion does. Pure."""

from collections.abc import Mapping, Sequence

import numpy as np

from models.evaluation.comparison import Margin, losses_of, no_worse
from ratchet.answers import Answers
from ratchet.criteria import Criteria, ForecastCriteria
from ratchet.types import Check, Outcome, Role


def finite(outputs: np.ndarray) -> Check:
    bad = int((~np.isfinite(outputs)).any(axis=1).sum()) if outputs.ndim == 2 and len(outputs) else -1
    detail = "every output is finite" if bad == 0 else "there are no outputs" if bad < 0 else f"{bad} are not finite"
    return Check("finite outputs", float(bad), 0.0, "passed" if bad == 0 else "failed", detail)


def classification(
    criteria: Criteria, answers: Answers, labels: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]
) -> list[Check]:
    """Minimum accuracy and minimum recall of the worst class, from labels [N] and probabilities [N, classes]."""
    if losses_of(answers, labels, probabilities) is None:
        detail = "there is not a finite output for every record"
        return [
            Check("accuracy", None, criteria.accuracy, "error", detail, role="metric"),
            Check("worst class", None, criteria.worst_class, "error", detail),
        ]
    accuracy = at_least("accuracy", answers.score(labels, probabilities), criteria.accuracy, role="metric")
    right = probabilities.argmax(axis=1) == labels
    recalls = {int(number): float(right[labels == number].mean()) for number in np.unique(labels)}
    unseen = [name for number, name in enumerate(classes) if number not in recalls]
    if unseen:
        detail = f"the benchmark has no record of {', '.join(unseen)[:200]}"
        return [accuracy, Check("worst class", None, criteria.worst_class, "error", detail)]
    worst = min(recalls, key=lambda number: recalls[number])
    name = classes[worst] if classes else worst
    return [accuracy, at_least("worst class", recalls[worst], criteria.worst_class, f"recall of class {name} ")]


def forecast(
    criteria: ForecastCriteria,
    answers: Answers,
    targets: np.ndarray,
    forecasts: np.ndarray,
    baselines: Mapping[str, np.ndarray],
    margins: Mapping[str, Margin],
) -> list[Check]:
    """Maximum mean squared error, and the comparison with each baseline; targets and forecasts are [N, horizon]."""
    name, limit = "mean squared error", criteria.squared_error
    losses = losses_of(answers, targets, forecasts)
    if losses is None:
        metric = Check(name, None, limit, "error", "there is not a finite forecast for every window", role="metric")
    else:
        metric = at_most(name, float(losses.mean()), limit, role="metric")
    compared = []
    for baseline, outputs in baselines.items():
        relation = "no worse than" if margins[baseline].value else "better than"
        others = losses_of(answers, targets, outputs)
        compared.append(no_worse(f"{relation} {baseline}", margins[baseline], losses, others, baseline))
    return [metric, *compared]


def at_least(name: str, value: float, minimum: float, what: str = "", role: Role = "check") -> Check:
    outcome: Outcome = "passed" if value >= minimum else "failed"
    relation = "at least" if outcome == "passed" else "below"
    return Check(name, value, minimum, outcome, f"{what}{value:.4f}, {relation} {minimum}", role=role)


def at_most(name: str, value: float, maximum: float, role: Role = "check") -> Check:
    outcome: Outcome = "passed" if value <= maximum else "failed"
    relation = "at most" if outcome == "passed" else "above"
    return Check(name, value, maximum, outcome, f"{value:.4g}, {relation} {maximum}", role=role)
