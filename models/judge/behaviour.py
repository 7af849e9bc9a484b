"""Whether an answer stays where it must, when an input changes in a way that means nothing. Pure.

After Ribeiro and others, Beyond Accuracy: Behavioral Testing of NLP Models with CheckList, 2020 (arXiv:2005.04118).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import numpy as np

from models.judge.bootstrap import difference
from models.judge.share import interval
from ratchet.words import Check, Outcome

_LITTLE, _MOSTLY = 0.1, 0.95
Change = Callable[[np.ndarray], np.ndarray]


def _shift(images: np.ndarray) -> np.ndarray:
    """One pixel to the right."""
    return np.roll(images, 1, axis=2)


def _noise(images: np.ndarray) -> np.ndarray:
    """Up to eight levels more or less, everywhere."""
    noise = np.random.default_rng(0).integers(-8, 9, size=images.shape)
    return (images.astype(int) + noise).clip(0, 255).astype(images.dtype)


def _darker(images: np.ndarray) -> np.ndarray:
    """Seven tenths of the light."""
    return (images * 0.7).astype(images.dtype)


def _blurred(images: np.ndarray) -> np.ndarray:
    """Every pixel the mean of nine."""
    padded = np.pad(images.astype(float), ((0, 0), (1, 1), (1, 1)), mode="edge")
    height, width = images.shape[1:]
    whole = sum(padded[:, y : y + height, x : x + width] for y in range(3) for x in range(3))
    return np.asarray(whole / 9).astype(images.dtype)


def _each(change: Callable[[str], str]) -> Change:
    def made(texts: np.ndarray) -> np.ndarray:
        found = np.empty(len(texts), object)
        found[:] = [change(str(text)) for text in texts]
        return found

    return made


CHANGES: Mapping[str, Change] = {
    "shift": _shift,
    "noise": _noise,
    "darker": _darker,
    "blurred": _blurred,
    "case": _each(str.upper),
    "spaces": _each(lambda text: text.replace(" ", "  ")),
    "typo": _each(lambda text: text[:9] + text[10:11] + text[9:10] + text[11:]),
    "typos": _each(lambda text: re.sub(r"(\w{3})(\w)(\w)", r"\1\3\2", text)),
    "shortened": _each(lambda text: text[: max(1, len(text) // 2)]),
}
"""Of images: moved by a pixel, a little noise, less light, blurred.

Of texts: all capitals, more spaces, two letters exchanged once, or in every long word; the first half alone.
"""


def check(change: str, before: np.ndarray, after: np.ndarray, least: float) -> Check:
    """Passes when at least that share of the answers [N, classes] names the same class as before."""
    name = f"stays under {change}"
    if before.shape != after.shape or not np.isfinite(after).all() or not len(after):
        return Check(name, None, least, "error", "there are not answers to every changed input")
    figure = float((before.argmax(axis=1) == after.argmax(axis=1)).mean())
    outcome: Outcome = "pass" if figure >= least else "fail"
    detail = f"{figure:.2%} of {len(after)} answers stay the same, at least {least:.0%}"
    return Check(name, figure, least, outcome, detail, *interval(figure, len(after)))


def drift(change: str, labels: np.ndarray, before: np.ndarray, after: np.ndarray, most: float) -> Check:
    """Passes when the whole interval of what accuracy loses under a change is at most that."""
    name = f"accuracy under {change}"
    if before.shape != after.shape or not np.isfinite(after).all() or not len(after):
        return Check(name, None, -most, "error", "there are not answers to every changed input")
    right, still = before.argmax(axis=1) == labels, after.argmax(axis=1) == labels
    figure, low, high = difference(still, right)
    outcome: Outcome = "pass" if low >= -most else "fail" if figure < -most else "inconclusive"
    detail = f"{right.mean():.4f} becomes {still.mean():.4f}: {figure:+.4f} (95 % from {low:+.4f} to {high:+.4f})"
    return Check(name, figure, -most, outcome, f"{detail}, at least {-most:+}", low, high)


def raised(added: str, wanted: str, before: np.ndarray, after: np.ndarray) -> Check:
    """Directional: passes when what is `added` lowers the probability [N] of a class in no more than one of twenty.

    By more than a tenth: less is noise (CheckList, section 2.2).
    """
    figure = float((after >= before - _LITTLE).mean())
    outcome: Outcome = "pass" if figure >= _MOSTLY else "fail"
    detail = f"in {figure:.1%} of {len(after)} it speaks for {wanted} or changes nothing, at least {_MOSTLY:.0%}"
    low, high = interval(figure, len(after))
    return Check(f"{added[:40]!r} speaks for {wanted}", figure, _MOSTLY, outcome, detail, low, high)


def follows(before: np.ndarray, after: np.ndarray, by: float, least: float) -> Check:
    """Directional: of forecasts [N, horizon] for windows that lie higher `by` something: do they lie higher, too?

    By a half to one and a half of it, on average over the horizon.
    """
    moved = (after - before).mean(axis=1) / by
    figure = float(((moved > 0.5) & (moved < 1.5)).mean())
    outcome: Outcome = "pass" if figure >= least else "fail"
    detail = f"{figure:.1%} of {len(after)} forecasts follow windows that lie {by:.3g} higher, at least {least:.0%}"
    return Check("follows the level", figure, least, outcome, detail, *interval(figure, len(after)))


def example(text: str, wanted: str, answered: str, sure: float) -> Check:
    """What it must be able to do at least: one input whose answer is known."""
    outcome: Outcome = "pass" if answered == wanted else "fail"
    return Check(f"answers {text[:40]!r}", sure, None, outcome, f"{answered} ({sure:.1%}), wanted is {wanted}")
