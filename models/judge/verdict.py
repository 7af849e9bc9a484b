"""From answers on the benchmark set to a verdict with all its evidence. Pure.

Pass, fail, inconclusive and error are four things, and only pass advances.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from models.judge.bootstrap import difference
from models.judge.calibration import reliability
from ratchet.recipe import Judging
from ratchet.words import Check, Outcome, Verdict


def judge(
    recipe: str,
    version: str,
    asked: Judging,
    benchmark: str,
    labels: np.ndarray,
    candidate: np.ndarray,
    champion: tuple[str, np.ndarray] | None,
    best: tuple[str, np.ndarray] | None,
    classes: Sequence[str] = (),
    further: Sequence[Check] = (),
) -> Verdict:
    """The verdict on a candidate.

    `labels` [N]; `candidate` and the others' arrays are probabilities [N, classes] for the same
    inputs, scored now. `champion` and `best` name their version; None where there is none yet. `further`
    are the checks of other figures.
    """
    checks = [finite(candidate), *_floors(asked, labels, candidate, classes)]
    if champion:
        checks += [
            different(_changed(candidate, champion[1]), champion[0]),
            _no_worse("champion", asked, labels, candidate, champion),
        ]
        checks.append(
            _no_worse("best champion so far", asked, labels, candidate, best) if best
            else Check("no worse than the best champion so far", None, None, "error", "its answers are missing")
        )  # fmt: skip
    found = assembled(recipe, version, champion, benchmark, [*checks, *further])
    return replace(found, reliability=reliability(labels, candidate)) if usable(labels, candidate) else found


def assembled(
    recipe: str, version: str, champion: tuple[str, np.ndarray] | None, benchmark: str, checks: Sequence[Check]
) -> Verdict:
    """Blessed where every check passed that was asked."""
    failed = [c for c in checks if c.outcome not in ("pass", "not asked")]
    first = "the first release: there is no champion to compare with; " if champion is None else ""
    why = "; ".join(f"{c.name}: {c.outcome}, {c.detail}" for c in failed) or "every check passed"
    return Verdict(
        recipe, version, champion[0] if champion else None, not failed, first + why, benchmark, tuple(checks)
    )


def accuracy(labels: np.ndarray, probabilities: np.ndarray) -> float:
    return float((probabilities.argmax(axis=1) == labels).mean())


def by_class(labels: np.ndarray, probabilities: np.ndarray) -> Mapping[int, float]:
    """Recall of each class that is there."""
    right = probabilities.argmax(axis=1) == labels
    return {int(c): float(right[labels == c].mean()) for c in np.unique(labels)}


def finite(candidate: np.ndarray) -> Check:
    bad = int((~np.isfinite(candidate)).any(axis=1).sum()) if candidate.ndim == 2 and len(candidate) else -1
    detail = f"{bad} answers are not numbers" if bad >= 0 else "there are no answers"
    return Check("answers are numbers", float(bad), 0.0, "pass" if bad == 0 else "fail", detail)


def _floors(asked: Judging, labels: np.ndarray, candidate: np.ndarray, classes: Sequence[str]) -> list[Check]:
    if not usable(labels, candidate):
        return [Check(name, None, floor, "error", "there are no answers to every image")
                for name, floor in (("accuracy", asked.accuracy), ("worst class", asked.worst_class))]  # fmt: skip
    recalls = by_class(labels, candidate)
    unseen = [name for number, name in enumerate(classes) if number not in recalls]
    worst = min(recalls, key=lambda c: recalls[c])
    floor = _floor("accuracy", accuracy(labels, candidate), asked.accuracy)
    if unseen:
        what = f"the benchmark has no record of {', '.join(unseen)[:200]}"
        return [floor, Check("worst class", None, asked.worst_class, "error", what)]
    name = classes[worst] if classes else worst
    return [floor, _floor("worst class", recalls[worst], asked.worst_class, f"class {name} at ")]


def limit(name: str, figure: float, ceiling: float) -> Check:
    """An error that may be no larger than that."""
    outcome: Outcome = "pass" if figure <= ceiling else "fail"
    return Check(name, figure, ceiling, outcome, f"{figure:.4f}, at most {ceiling}")


def _floor(name: str, figure: float, floor: float, what: str = "") -> Check:
    outcome: Outcome = "pass" if figure >= floor else "fail"
    return Check(name, figure, floor, outcome, f"{what}{figure:.4f}, at least {floor}")


def _changed(mine: np.ndarray, theirs: np.ndarray) -> float | None:
    """Share of the inputs that are answered with another class."""
    return float((mine.argmax(axis=1) != theirs.argmax(axis=1)).mean()) if mine.shape == theirs.shape else None


def different(share: float | None, champion: str) -> Check:
    """One that answers nothing differently is not worth a release."""
    name = "answers anything differently"
    if share is None:
        return Check(name, None, 0.0, "error", "the champion's answers are of another shape")
    detail = f"{share:.2%} of answers differ from version {champion}'s"
    return Check(name, share, 0.0, "pass" if share > 0 else "fail", detail)


def _no_worse(
    who: str, asked: Judging, labels: np.ndarray, candidate: np.ndarray, other: tuple[str, np.ndarray]
) -> Check:
    """Non-inferiority: passes when the whole interval of the difference is above -margin."""
    name, margin = f"no worse than the {who}", -asked.margin
    if not usable(labels, candidate) or not usable(labels, other[1]):
        return Check(name, None, margin, "error", "there are no answers to every image of both")
    figure, low, high = difference(candidate.argmax(axis=1) == labels, other[1].argmax(axis=1) == labels)
    outcome: Outcome = "pass" if low > margin else "fail" if figure < margin else "inconclusive"
    detail = f"accuracy {figure:+.4f} against version {other[0]} (95 % from {low:+.4f} to {high:+.4f}), margin {margin}"
    return Check(name, figure, margin, outcome, detail, low, high)


def usable(labels: np.ndarray, probabilities: np.ndarray) -> bool:
    return (
        bool(len(labels))
        and probabilities.ndim == 2
        and len(probabilities) == len(labels)
        and bool(np.isfinite(probabilities).all())
    )
