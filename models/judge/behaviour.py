"""Whether an answer stays where it must, when an input changes in a way that means nothing. Pure.

After Ribeiro and others, Beyond Accuracy: Behavioral Testing of NLP Models with CheckList, 2020 (arXiv:2005.04118).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ratchet.words import Check, Outcome

Change = Callable[[np.ndarray], np.ndarray]


def _shift(images: np.ndarray) -> np.ndarray:
    """One pixel to the right."""
    return np.roll(images, 1, axis=2)


def _noise(images: np.ndarray) -> np.ndarray:
    """Up to eight levels more or less, everywhere."""
    noise = np.random.default_rng(0).integers(-8, 9, size=images.shape)
    return (images.astype(int) + noise).clip(0, 255).astype(images.dtype)


def _each(change: Callable[[str], str]) -> Change:
    def made(texts: np.ndarray) -> np.ndarray:
        found = np.empty(len(texts), object)
        found[:] = [change(str(text)) for text in texts]
        return found

    return made


CHANGES: Mapping[str, Change] = {
    "shift": _shift,
    "noise": _noise,
    "case": _each(str.upper),
    "spaces": _each(lambda text: text.replace(" ", "  ")),
    "typo": _each(lambda text: text[:9] + text[10:11] + text[9:10] + text[11:]),
}
"""Of images: moved by a pixel, a little noise. Of texts: all capitals, more spaces, two letters exchanged."""


def check(change: str, before: np.ndarray, after: np.ndarray, least: float) -> Check:
    """Passes when at least that share of the answers [N, classes] names the same class as before."""
    name = f"stays under {change}"
    if before.shape != after.shape or not np.isfinite(after).all() or not len(after):
        return Check(name, None, least, "error", "there are not answers to every changed input")
    figure = float((before.argmax(axis=1) == after.argmax(axis=1)).mean())
    outcome: Outcome = "pass" if figure >= least else "fail"
    return Check(
        name, figure, least, outcome, f"{figure:.2%} of {len(after)} answers stay the same, at least {least:.0%}"
    )


def example(text: str, wanted: str, answered: str, sure: float) -> Check:
    """What it must be able to do at least: one input whose answer is known."""
    outcome: Outcome = "pass" if answered == wanted else "fail"
    return Check(f"answers {text[:40]!r}", sure, None, outcome, f"{answered} ({sure:.1%}), wanted is {wanted}")
