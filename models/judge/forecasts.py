"""From forecasts on the benchmark set to a verdict with all its evidence. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from models.judge.baselines import LINEAR
from models.judge.bootstrap import relative
from models.judge.verdict import assembled, different, finite, limit, usable
from ratchet.recipe import ForecastJudging
from ratchet.words import Check, Outcome, Verdict

LEAST = 10
"""Blocks of windows below which an interval says nothing."""


def judge_forecasts(
    recipe: str,
    version: str,
    asked: ForecastJudging,
    benchmark: str,
    targets: np.ndarray,
    candidate: np.ndarray,
    baselines: Mapping[str, np.ndarray],
    champion: tuple[str, np.ndarray] | None,
    best: tuple[str, np.ndarray] | None,
    parts: Mapping[str, np.ndarray] | None = None,
    further: Sequence[Check] = (),
) -> Verdict:
    """The verdict on a candidate.

    `targets` and everyone's forecasts are [N, horizon], of windows in the order of time. `champion` and `best`
    name their version; None where there is none yet. `parts` are masks [N] of windows that are compared alone.
    """
    error = _errors(targets, candidate)
    checks = [
        finite(candidate),
        Check("mean squared error", None, asked.squared_error, "error", "there is no forecast for every window")
        if error is None
        else limit("mean squared error", float(error.mean()), asked.squared_error),
    ]
    block = 2 * targets.shape[1]
    for name, them in baselines.items():
        margin = asked.linear if name == LINEAR else 0.0
        checks.append(against(_than(name, margin), margin, error, _errors(targets, them), block))
    if champion:
        checks.append(different(_moved(candidate, champion[1]), champion[0]))
        for who, other in (("the champion", champion), ("the best champion so far", best)):
            theirs = _errors(targets, other[1]) if other else None
            of = f" of version {other[0]}" if other else ""
            checks.append(against(_than(who, asked.margin), asked.margin, error, theirs, block, of))
    theirs = _errors(targets, champion[1]) if champion else None
    for name, mask in (parts or {}).items():
        mine_, theirs_ = (None if errors is None else errors[mask] for errors in (error, theirs))
        checks.append(_alone(name, mine_) if champion is None and mine_ is not None
                      else against(f"on {name}", asked.slice_margin, mine_, theirs_, block))  # fmt: skip
    return assembled(recipe, version, champion, benchmark, [*checks, *further])


def _alone(name: str, errors: np.ndarray) -> Check:
    told = f"error {errors.mean():.4g} of {len(errors)} windows; there is no champion to compare with"
    return Check(f"on {name}", float(errors.mean()), None, "not asked", told)


def _moved(mine: np.ndarray, theirs: np.ndarray) -> float | None:
    """Share of the forecasts that differ at all."""
    return float((mine != theirs).any(axis=1).mean()) if mine.shape == theirs.shape else None


def _errors(targets: np.ndarray, forecasts: np.ndarray) -> np.ndarray | None:
    """The mean squared error of each window; None where there is not one usable forecast for each."""
    if not usable(targets, forecasts) or forecasts.shape != targets.shape:
        return None
    return ((forecasts - targets) ** 2).mean(axis=1)


def _than(who: str, margin: float) -> str:
    return f"no worse than {who}" if margin else f"better than {who}"


def against(
    name: str, margin: float, mine: np.ndarray | None, theirs: np.ndarray | None, block: int, of: str = ""
) -> Check:
    """Passes when the whole interval of the ratio of errors, less one, is at most `margin`; below nothing for none."""
    if mine is None or theirs is None:
        return Check(name, None, margin, "error", "there is no forecast of both for every window")
    if len(mine) < LEAST * block:
        told = f"{len(mine)} windows, and neighbours share hours: at least {LEAST * block} are needed"
        return Check(name, float(mine.mean() / theirs.mean() - 1) if len(mine) else None, margin, "inconclusive", told)
    figure, low, high = relative(mine, theirs, block)
    passed = high < margin or (bool(margin) and high == margin)
    outcome: Outcome = "pass" if passed else "fail" if figure > margin or figure >= 0 == margin else "inconclusive"
    detail = (
        f"error {mine.mean():.4g} against {theirs.mean():.4g}{of}: {figure:+.1%} (95 % from {low:+.1%} to {high:+.1%})"
    )
    return Check(name, figure, margin, outcome, f"{detail}, at most {margin:+.0%}", low, high)
