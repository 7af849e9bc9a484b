"""What an evaluation does with images: perturbations, slices, near-duplicates. Pure."""

from collections.abc import Mapping, Sequence

import numpy as np

from ratchet.evaluation.thirds import thirds
from ratchet.kinds.image.contract import ImageContract
from ratchet.kinds.parts import Perturbation, Slices


def _shift(images: np.ndarray) -> np.ndarray:
    return np.roll(images, 1, axis=2)


def _noise(images: np.ndarray) -> np.ndarray:
    most = np.iinfo(images.dtype).max
    noise = np.random.default_rng(0).integers(-8, 9, size=images.shape) * (most // 255)
    return (images.astype(int) + noise).clip(0, most).astype(images.dtype)


def _darker(images: np.ndarray) -> np.ndarray:
    return (images * 0.7).astype(images.dtype)


def _blurred(images: np.ndarray) -> np.ndarray:
    padded = np.pad(images.astype(float), ((0, 0), (1, 1), (1, 1), *[(0, 0)] * (images.ndim - 3)), mode="edge")
    height, width = images.shape[1:3]
    total = sum(padded[:, y : y + height, x : x + width] for y in range(3) for x in range(3))
    return np.asarray(total / 9).astype(images.dtype)


PERTURBATIONS: Mapping[str, Perturbation] = {"shift": _shift, "noise": _noise, "darker": _darker, "blurred": _blurred}
"""`shift` by one pixel to the right, `noise` of up to eight levels, `darker` (70 % of the brightness), `blurred` (the
mean of 3x3 pixels).
"""


def _brightness(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1).mean(axis=1)


def columns(contract: ImageContract, inputs: np.ndarray) -> Mapping[str, np.ndarray]:
    return {}


def unseen(contract: ImageContract, inputs: np.ndarray, vocabulary: Sequence[str]) -> None:
    """Pixels have no vocabulary."""


def slices(contract: ImageContract) -> Mapping[str, Slices]:
    return {"brightness": lambda inputs: thirds(_brightness(inputs), "brightness")}


prefixed = None
_SAME = 0.99
"""Correlation from which two images are near-duplicates: 0.5 % of Fashion-MNIST's test set reach it."""


def near(benchmark: np.ndarray, trained: np.ndarray) -> np.ndarray:
    """Which of the images [N, height, width] correlate by 0.99 with one of those trained on [M, height, width]."""
    vectors, best = _unit_vectors(benchmark), np.zeros(len(benchmark), np.float32)
    for start in range(0, len(trained), 4096):  # all at once would take gigabytes
        best = np.maximum(best, (vectors @ _unit_vectors(trained[start : start + 4096]).T).max(axis=1))
    return best >= _SAME


def _unit_vectors(images: np.ndarray) -> np.ndarray:
    """Each image as a centred vector of length one, [N, pixels]; a large image is averaged to about 32 a side."""
    images = images if images.ndim == 3 else images.mean(axis=3, dtype=np.float32)
    height, width = images.shape[1:]
    y, x = max(1, height // 32), max(1, width // 32)
    cropped = images[:, : height // y * y, : width // x * x]
    small = cropped.reshape(len(cropped), height // y, y, width // x, x).mean(axis=(2, 4), dtype=np.float32)
    flat = small.reshape(len(small), -1)
    flat -= flat.mean(axis=1, keepdims=True)
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6))
