"""The comparison with the champions, and with the champion on each slice of the benchmark. Pure."""

from dataclasses import replace

import numpy as np

from ratchet.answers import Answers
from ratchet.evaluation.comparison import Margin, losses_of, no_worse
from ratchet.evaluation.proportion import interval
from ratchet.evaluation.thirds import Masks
from ratchet.types import Check, Outcome

Rival = tuple[str, np.ndarray]
"""A version and its outputs [N, width] for the benchmark, computed now."""
_NEWEST = "no worse than the champion on the newest"
MIN_RECORDS = 30
"""Records below which a slice means nothing."""


def comparisons(
    answers: Answers,
    margin: Margin,
    targets: np.ndarray,
    outputs: np.ndarray,
    champion: Rival,
    best: Rival | None,
    replaceable: bool = False,
) -> list[Check]:
    """The candidate's outputs differ from the champion's, and are no worse than its or the best champion's.

    A champion that a person deleted in MLflow is `replaceable`: a version with the same outputs may take its place.
    """
    losses = losses_of(answers, targets, outputs)
    differs = _differs(answers, outputs, champion)
    if replaceable and differs.outcome == "failed":
        differs = replace(differs, outcome="skipped", detail=f"MLflow no longer has version {champion[0]}")
    checks = [differs]
    for who, rival in (("the champion", champion), ("the best champion so far", best)):
        others = losses_of(answers, targets, rival[1]) if rival else None
        named = f"version {rival[0]}" if rival else who
        checks.append(no_worse(f"no worse than {who}", margin, losses, others, named))
    return checks


def newest(
    answers: Answers, margin: Margin, targets: np.ndarray, outputs: np.ndarray, champion: Rival, may_be_few: bool
) -> Check:
    """The candidate is no worse than the champion on the newest records, which neither was trained on.

    If they `may_be_few`, it fails only if they show that it is worse, and is skipped if they show neither.
    """
    losses, others = (losses_of(answers, targets, each) for each in (outputs, champion[1]))
    check = no_worse(_NEWEST, margin, losses, others, f"version {champion[0]}")
    is_shown_worse = check.low is not None and check.low > (check.threshold or 0.0)
    if may_be_few and check.outcome in ("failed", "inconclusive") and not is_shown_worse:
        return replace(check, outcome="skipped", detail=f"too few to say: {check.detail}")
    return check


def skipped_newest(why: str) -> Check:
    return Check(_NEWEST, None, None, "skipped", why)


def _differs(answers: Answers, outputs: np.ndarray, champion: Rival) -> Check:
    """A candidate that answers every input like the champion is not worth a release."""
    name, (version, others) = "differs from the champion", champion
    if outputs.shape != others.shape:
        return Check(name, None, 0.0, "error", "the champion's outputs have another shape")
    share = float(answers.differ(outputs, others).mean()) if len(outputs) else 0.0
    outcome: Outcome = "passed" if share > 0 else "failed"
    return Check(name, share, 0.0, outcome, f"{share:.2%} of the outputs differ from those of version {version}")


def slices(
    answers: Answers, margin: Margin, masks: Masks, targets: np.ndarray, outputs: np.ndarray, champion: Rival | None
) -> list[Check]:
    """One check per slice.

    All slices must pass, so the probability that a worse candidate passes is no larger than for one slice, however
    many there are, and the level needs no correction (Berger 1982, the intersection-union test).
    """
    if not masks:
        return [Check("slices", None, None, "skipped", "the recipe names none")]
    losses = losses_of(answers, targets, outputs)
    others = losses_of(answers, targets, champion[1]) if champion else None
    checks = []
    for name, mask in masks.items():
        if champion is None and losses is not None:
            checks.append(_alone(name, losses[mask]))
            continue
        own, other = (None if values is None else values[mask] for values in (losses, others))
        named = f"version {champion[0]}" if champion else "the champion"
        checks.append(no_worse(name, margin, own, other, named, role="slice"))
    return checks


def _alone(name: str, losses: np.ndarray) -> Check:
    value, count = float(losses.mean()), len(losses)
    detail = f"error {value:.4g} of {count} records; there is no champion to compare with"
    check = Check(name, value, None, "skipped", detail, role="slice")
    if set(np.unique(losses)) <= {0.0, 1.0}:
        low, high = interval(value, count)
        check = replace(check, low=low, high=high)
    return check
