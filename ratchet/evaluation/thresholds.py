"""Requirements on the benchmark that do not depend on the champion: thresholds, and simple baselines. Pure."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ratchet.answers import Answers
from ratchet.evaluation.comparison import Margin, losses_of, no_worse
from ratchet.types import Check, Outcome, Role

_MISSING = "some outputs are missing or not finite"


def finite(outputs: np.ndarray) -> Check:
    if outputs.ndim != 2 or not len(outputs):
        return Check("finite outputs", None, 0.0, "error", "there are no outputs")
    bad = int((~np.isfinite(outputs)).any(axis=1).sum())
    detail = f"{bad} are not finite" if bad else "every output is finite"
    return Check("finite outputs", float(bad), 0.0, "passed" if bad == 0 else "failed", detail)


def classes(
    accuracy: float,
    worst_class: float,
    answers: Answers,
    labels: np.ndarray,
    outputs: np.ndarray,
    names: tuple[str, ...],
) -> list[Check]:
    """Minimum accuracy and minimum recall of the worst class, from labels [N] and probabilities [N, classes]."""
    if losses_of(answers, labels, outputs) is None:
        detail = _MISSING
        metric = Check("accuracy", None, accuracy, "error", detail, role="metric")
        return [metric, Check("worst class", None, worst_class, "error", detail)]
    metric = at_least("accuracy", answers.score(labels, outputs), accuracy, role="metric")
    right = outputs.argmax(axis=1) == labels
    recalls = {int(number): float(right[labels == number].mean()) for number in np.unique(labels)}
    unseen = [name for number, name in enumerate(names) if number not in recalls]
    if unseen:
        detail = f"the benchmark has no record of {', '.join(unseen)[:200]}"
        return [metric, Check("worst class", None, worst_class, "error", detail)]
    worst = min(recalls, key=lambda number: recalls[number])
    return [metric, at_least("worst class", recalls[worst], worst_class, f"recall of class {names[worst]} ")]


def rare_classes(
    balanced_accuracy: float | None,
    average_precision: float | None,
    answers: Answers,
    labels: np.ndarray,
    outputs: np.ndarray,
) -> list[Check]:
    """Minimum balanced accuracy and average precision, from labels [N] and probabilities [N, classes].

    Source of both: scikit-learn, `balanced_accuracy_score` and `average_precision_score` with `average="macro"`.
    """
    from sklearn.metrics import average_precision_score

    usable = losses_of(answers, labels, outputs) is not None
    predicted, present = outputs.argmax(axis=1) if usable else labels, np.unique(labels)
    checks = []
    measures: Sequence[tuple[str, float | None, Callable[[int], float]]] = (
        ("balanced accuracy", balanced_accuracy, lambda number: float((predicted[labels == number] == number).mean())),
        (
            "average precision",
            average_precision,
            lambda number: average_precision_score(labels == number, outputs[:, number]),
        ),
    )
    for name, limit, measure in measures:

        def mean(measure: Callable[[int], float] = measure) -> tuple[float, str]:
            return float(np.mean([measure(number) for number in present])), ""

        checks.append(_limited(name, limit, "" if usable else _MISSING, mean))
    return checks


def _limited(
    name: str, limit: float | None, problem: str, measure: Callable[[], tuple[float, str]], role: Role = "check"
) -> Check:
    """A minimum, if the recipe sets one, of a value with the words before it; or the problem with measuring it."""
    if limit is None:
        return Check(name, None, None, "skipped", "the recipe sets no limit")
    if problem:
        return Check(name, None, limit, "error", problem, role=role)
    value, what = measure()
    return at_least(name, value, limit, what, role=role)


def labels(
    limits: Mapping[str, float | None],
    names: Sequence[str],
    targets: np.ndarray,
    predicted: np.ndarray,
    outputs: np.ndarray | None,
) -> list[Check]:
    """Minimum accuracy, F1 and average precision by the names of `limits`; arrays are [N, labels], of which many hold.

    `outputs` is None if some are missing or not finite. Source: scikit-learn, `f1_score` with `average="micro"`, and
    `average_precision_score` with `average="macro"`.
    """
    from sklearn.metrics import average_precision_score, f1_score

    present = np.flatnonzero(targets.any(axis=0))
    absent = [name for number, name in enumerate(names) if number not in present]
    unknown = f"the benchmark has no record of {', '.join(absent)[:200]}" if absent else ""

    def precision() -> tuple[float, str]:
        return float(average_precision_score(targets, outputs, average="macro")), ""

    def worst() -> tuple[float, str]:
        values = f1_score(targets, predicted, average=None, zero_division=0.0)
        return float(values.min()), f"that of {names[int(values.argmin())]}, "

    measures: Mapping[str, tuple[Callable[[], tuple[float, str]], str]] = {
        "binary accuracy": (lambda: (float((predicted == (targets > 0)).mean()), ""), ""),
        "F1": (lambda: (float(f1_score(targets, predicted, average="micro", zero_division=0.0)), ""), ""),
        "F1 of the worst label": (worst, unknown),
        "average precision": (precision, unknown),
    }
    checks = []
    for name, limit in limits.items():
        role: Role = "metric" if name == "binary accuracy" else "check"
        measure, problem = measures[name]
        checks.append(_limited(name, limit, _MISSING if outputs is None else problem, measure, role))
    return checks


def numbers(
    name: str,
    limit: float,
    answers: Answers,
    targets: np.ndarray,
    outputs: np.ndarray,
    baselines: Mapping[str, np.ndarray],
    margins: Mapping[str, Margin],
) -> list[Check]:
    """Maximum error of that name, and the comparison with each baseline; targets and outputs are [N, width]."""
    losses = losses_of(answers, targets, outputs)
    if losses is None:
        metric = Check(name, None, limit, "error", _MISSING, role="metric")
    else:
        metric = at_most(name, float(losses.mean()), limit, role="metric")
    compared = []
    for baseline, others in baselines.items():
        relation = "better than" if margins[baseline].must_be_smaller else "no worse than"
        rival = losses_of(answers, targets, others)
        compared.append(no_worse(f"{relation} {baseline}", margins[baseline], losses, rival, baseline))
    return [metric, *compared]


def at_least(name: str, value: float, minimum: float, what: str = "", role: Role = "check") -> Check:
    outcome: Outcome = "passed" if value >= minimum else "failed"
    relation = "is at least" if outcome == "passed" else "is below"
    return Check(name, value, minimum, outcome, f"{what}{value:.4f} {relation} {minimum}", role=role)


def at_most(name: str, value: float, maximum: float, role: Role = "check") -> Check:
    outcome: Outcome = "passed" if value <= maximum else "failed"
    relation = "is at most" if outcome == "passed" else "is above"
    return Check(name, value, maximum, outcome, f"{value:.4g} {relation} {maximum}", role=role)
