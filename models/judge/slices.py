"""Whether a candidate is worse where few look: on parts of the benchmark, each with its own interval. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from models.judge.bootstrap import difference
from models.judge.share import interval
from ratchet.words import Check, Outcome

LEAST = 30
"""Records that a part must have to say anything."""
Masks = Mapping[str, np.ndarray]


def _bands(figure: np.ndarray, what: str) -> Masks:
    """Masks [N] of the lowest, the middle and the highest third of figures [N]."""
    low, high = np.quantile(figure, [1 / 3, 2 / 3])
    return {f"low {what}": figure <= low, f"middling {what}": (figure > low) & (figure <= high),
            f"high {what}": figure > high}  # fmt: skip


def _mean(inputs: np.ndarray) -> np.ndarray:
    return inputs.reshape(len(inputs), -1).mean(axis=1)


def _length(inputs: np.ndarray) -> np.ndarray:
    return np.array([len(str(text)) for text in inputs], float)


BANDS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "brightness": _mean, "length": _length, "level": _mean,
}  # fmt: skip
"""A figure of each input whose thirds are parts: of images, of texts, of windows."""


def parts(names: Sequence[str], inputs: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> Masks:
    """Which records [N] stand in each part: of every class, and of every band that is named."""
    found: dict[str, np.ndarray] = {}
    for name in names:
        if name == "class":
            found |= {f"class {told}": labels == number for number, told in enumerate(classes)}
        else:
            found |= _bands(BANDS[name](inputs), name)
    return {name: mask for name, mask in found.items() if mask.any()}


def checks(masks: Masks, mine: np.ndarray, theirs: np.ndarray | None, margin: float) -> list[Check]:
    """One check a part: `mine` and `theirs` say which answers [N] were right; None where there is no champion.

    All parts must pass, so the chance that a worse one passes is no larger than for one of them, however many there
    are, and the level needs no correction (Berger 1982, the intersection-union test).
    """
    if not masks:
        return [Check("slices", None, None, "not asked", "the recipe names none")]
    return [_check(f"on {name}", mine[mask], None if theirs is None else theirs[mask], margin)
            for name, mask in masks.items()]  # fmt: skip


def _check(name: str, mine: np.ndarray, theirs: np.ndarray | None, margin: float) -> Check:
    if theirs is None:
        detail = f"accuracy {mine.mean():.4f} of {len(mine)} records; there is no champion to compare with"
        return Check(name, float(mine.mean()), None, "not asked", detail, *interval(float(mine.mean()), len(mine)))
    if len(mine) < LEAST:
        return Check(name, None, -margin, "inconclusive", f"{len(mine)} records, at least {LEAST} are needed")
    figure, low, high = difference(mine, theirs)
    outcome: Outcome = "pass" if low > -margin else "fail" if figure < -margin else "inconclusive"
    detail = f"accuracy {mine.mean():.4f} against {theirs.mean():.4f} of {len(mine)} records: {figure:+.4f}"
    return Check(
        name, figure, -margin, outcome, f"{detail} (from {low:+.4f} to {high:+.4f}), margin {-margin}", low, high
    )
