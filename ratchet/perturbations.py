"""Perturbations of inputs, by kind and name: a recipe asks for them, and an evaluation applies them. Pure."""

import re
from collections.abc import Callable, Mapping

import numpy as np

Perturbation = Callable[[np.ndarray], np.ndarray]


def _shift(images: np.ndarray) -> np.ndarray:
    return np.roll(images, 1, axis=2)


def _noise(images: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).integers(-8, 9, size=images.shape)
    return (images.astype(int) + noise).clip(0, 255).astype(images.dtype)


def _darker(images: np.ndarray) -> np.ndarray:
    return (images * 0.7).astype(images.dtype)


def _blurred(images: np.ndarray) -> np.ndarray:
    padded = np.pad(images.astype(float), ((0, 0), (1, 1), (1, 1)), mode="edge")
    height, width = images.shape[1:]
    total = sum(padded[:, y : y + height, x : x + width] for y in range(3) for x in range(3))
    return np.asarray(total / 9).astype(images.dtype)


def _each(change: Callable[[str], str]) -> Perturbation:
    def perturb(texts: np.ndarray) -> np.ndarray:
        changed = np.empty(len(texts), object)
        changed[:] = [change(str(text)) for text in texts]
        return changed

    return perturb


PERTURBATIONS: Mapping[str, Mapping[str, Perturbation]] = {
    "image": {"shift": _shift, "noise": _noise, "darker": _darker, "blurred": _blurred},
    "text": {
        "case": _each(str.upper),
        "spaces": _each(lambda text: text.replace(" ", "  ")),
        "typo": _each(lambda text: text[:9] + text[10:11] + text[9:10] + text[11:]),
        "typos": _each(lambda text: re.sub(r"(\w{3})(\w)(\w)", r"\1\3\2", text)),
        "shortened": _each(lambda text: text[: max(1, len(text) // 2)]),
    },
    "series": {},
}
"""Images: `shift` by one pixel to the right, `noise` of up to eight levels, `darker` (70 % of the brightness),
`blurred` (the mean of 3x3 pixels). Texts: upper `case`, double `spaces`, two letters swapped once (`typo`) or in
every long word (`typos`), and `shortened` to the first half.
"""
