"""Which form of a model is packaged: the fastest that answers as well as the one in full precision. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.judge.bootstrap import difference, relative
from models.judge.forecasts import LEAST
from ratchet.words import Check, Outcome, Variant

FULL = "fp32"
GAIN = 0.9
"""Another than the full one must take at most this share of its time: less is noise, and precision is lost for it."""


def as_good(margin: float, targets: np.ndarray, mine: np.ndarray, full: np.ndarray) -> Check:
    """Non-inferior to the full one: the whole interval is on the good side of the margin.

    Targets are labels [N] and answers probabilities [N, classes]; or both are forecasts [N, horizon], and the margin
    is a share of the full one's error.
    """
    name = f"no worse than {FULL}"
    if mine.shape != full.shape or not np.isfinite(mine).all():
        return Check(name, None, margin, "error", "there is not an answer to every input")
    if targets.ndim == 1:
        figure, low, high = difference(mine.argmax(axis=1) == targets, full.argmax(axis=1) == targets)
        outcome: Outcome = "pass" if low > -margin else "fail" if figure < -margin else "inconclusive"
        detail = f"accuracy {figure:+.4f} (95 % from {low:+.4f} to {high:+.4f}), margin {-margin}"
        return Check(name, figure, -margin, outcome, detail, low, high)
    block = 2 * targets.shape[1]
    if len(mine) < LEAST * block:
        return Check(name, None, margin, "inconclusive", f"{len(mine)} windows, at least {LEAST * block} are needed")
    errors, exact = (((answers - targets) ** 2).mean(axis=1) for answers in (mine, full))
    figure, low, high = relative(errors, exact, block)
    outcome = "pass" if high < margin else "fail" if figure > margin else "inconclusive"
    detail = f"error {figure:+.1%} (95 % from {low:+.1%} to {high:+.1%}), margin {margin:+.0%}"
    return Check(name, figure, margin, outcome, detail, low, high)


@dataclass(frozen=True)
class Took:
    """What a host found of one form."""

    milliseconds: float
    off: float
    """The largest difference of a number in its answers from those of the machine that made the form."""


def chosen(variants: Sequence[Variant], took: Mapping[str, Took], where: str, tolerance: float) -> tuple[Variant, ...]:
    """The same with their milliseconds, and one that is packaged: the full one where nothing was measured.

    `where` names the host, or says why there is no figure. A form that the host answers otherwise is none: it would
    not pass its golden set there.
    """
    timed = [_timed(v, took.get(v.name), where, tolerance) for v in variants]
    (full,) = [v for v in timed if v.name == FULL]
    bound = GAIN * full.milliseconds if full.milliseconds is not None else 0.0
    faster = {v.milliseconds: v for v in timed if v is not full and v.check.outcome == "pass"
              and v.milliseconds is not None and v.milliseconds <= bound}  # fmt: skip
    best = faster[min(faster)] if faster else full
    return tuple(replace(v, packaged=v is best) for v in timed)


def _timed(form: Variant, took: Took | None, where: str, tolerance: float) -> Variant:
    if took is None:
        return replace(form, where=where)
    check = form.check
    if form.name != FULL and not took.off <= tolerance:
        told = f"on {where} it answers otherwise by {took.off:.2g}, more than {tolerance}"
        check = replace(check, outcome="fail", detail=f"{check.detail}; {told}")
    return replace(form, milliseconds=took.milliseconds, where=where, check=check)


def without(variants: Sequence[Variant], why: str) -> tuple[Variant, ...]:
    """The full one packaged, in place of a form that the judge refused."""
    refused = [replace(v, check=replace(v.check, outcome="fail", detail=why)) if v.packaged else v for v in variants]
    return tuple(replace(v, packaged=v.name == FULL) for v in refused)
