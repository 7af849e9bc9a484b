"""Whether the benchmark leaked into training, and whether its own labels are wrong. Pure."""

import zlib
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from models.evaluation.proportion import interval
from ratchet.texts import tokens
from ratchet.types import Check, Outcome

_SAME_IMAGE = 0.99
"""Correlation from which two images are near-duplicates: 0.5 % of Fashion-MNIST's test set reach it."""
_SAME_TEXT, _SKETCH, _SHINGLE = 0.8, 64, 4


def near_images(benchmark: np.ndarray, trained: np.ndarray) -> np.ndarray:
    """Which of the images [N, height, width] correlate by 0.99 with one of those trained on [M, height, width]."""
    vectors, best = _unit_vectors(benchmark), np.zeros(len(benchmark), np.float32)
    for start in range(0, len(trained), 4096):  # all at once would take gigabytes
        best = np.maximum(best, (vectors @ _unit_vectors(trained[start : start + 4096]).T).max(axis=1))
    return best >= _SAME_IMAGE


def _unit_vectors(images: np.ndarray) -> np.ndarray:
    """Each image as a centred vector of length one, [N, pixels]; a large image is averaged to about 32 a side."""
    height, width = images.shape[1:]
    y, x = max(1, height // 32), max(1, width // 32)
    cropped = images[:, : height // y * y, : width // x * x]
    small = cropped.reshape(len(cropped), height // y, y, width // x, x).mean(axis=(2, 4), dtype=np.float32)
    flat = small.reshape(len(small), -1)
    flat -= flat.mean(axis=1, keepdims=True)
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6))


def near_texts(benchmark: np.ndarray, trained: np.ndarray) -> np.ndarray:
    """Which of the texts [N] share four fifths of their 4-token shingles with one of those trained on [M].

    By the smallest 64 hashes of each (Broder, On the resemblance and containment of documents, 1997).
    """
    known = [_sketch(str(text)) for text in trained]
    holders = defaultdict(list)
    for number, sketch in enumerate(known):
        for hash_ in sketch:
            holders[hash_].append(number)
    return np.array([_is_near(_sketch(str(text)), known, holders) for text in benchmark], bool)


def _sketch(text: str) -> frozenset[int]:
    words = tokens(text, 512)
    shingles = {" ".join(words[i : i + _SHINGLE]) for i in range(max(1, len(words) - _SHINGLE + 1))}
    return frozenset(sorted(zlib.crc32(shingle.encode()) for shingle in shingles)[:_SKETCH])


def _is_near(sketch: frozenset[int], known: Sequence[frozenset[int]], holders: dict[int, list[int]]) -> bool:
    shared = Counter(number for hash_ in sketch for number in holders.get(hash_, ()))
    return any(_resemblance(sketch, known[number]) >= _SAME_TEXT for number, _ in shared.most_common(5))


def _resemblance(one: frozenset[int], other: frozenset[int]) -> float:
    smallest = sorted(one | other)[:_SKETCH]
    return sum(hash_ in one and hash_ in other for hash_ in smallest) / len(smallest)


NEAR = {"image": near_images, "text": near_texts}


def near_duplicates(near: np.ndarray, right: np.ndarray, maximum: float | None) -> Check:
    """Passes if at most that share of the benchmark [N] is `near` a training record."""
    name = "near-duplicates across sides"
    if maximum is None:
        return Check(name, None, None, "skipped", "the recipe sets no limit")
    value = float(near.mean())
    rest = f"{right[~near].mean():.4f} without them, {right.mean():.4f} with" if (~near).any() else "none is left"
    outcome: Outcome = "passed" if value <= maximum else "failed"
    detail = f"{value:.2%} of {len(near)} records nearly duplicate a training record; accuracy {rest}"
    return Check(name, value, maximum, outcome, f"{detail}; limit {maximum:.0%}", *interval(value, len(near)))


def suspects(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Indices of the records whose label the model contradicts with confidence, most confident first.

    Each class has a threshold: its mean probability over the records with that label. A label is suspect if the model
    predicts another class, and some other class reaches its threshold.
    Source: Northcutt and others, Confident Learning, 2021 (arXiv:1911.00068), section 3.1.
    """
    count = probabilities.shape[1]
    thresholds = np.full(count, np.inf)  # a class without a label has none
    for number in np.unique(labels):
        thresholds[number] = probabilities[labels == number, number].mean()
    other = probabilities.copy()
    other[np.arange(len(labels)), labels] = 0.0
    confidence = np.where(other >= thresholds, other, 0.0).max(axis=1)
    contradicted = np.flatnonzero((confidence > 0) & (probabilities.argmax(axis=1) != labels))
    return contradicted[np.argsort(-confidence[contradicted], kind="stable")]


def label_errors(labels: np.ndarray, probabilities: np.ndarray, records: Sequence[str], maximum: float | None) -> Check:
    """Passes if at most that share of the labels [N] is suspect; `records` are digests [N], the first are named."""
    name = "label errors"
    if maximum is None:
        return Check(name, None, None, "skipped", "the recipe sets no limit")
    suspect = suspects(labels, probabilities)
    value = len(suspect) / len(labels)
    outcome: Outcome = "passed" if value <= maximum else "failed"
    first = ", ".join(str(records[i])[:12] for i in suspect[:5])
    which = f"; the first records are {first} (`ratchet show RECIPE RECORD`)" if first else ""
    detail = f"{value:.2%} of {len(labels)} labels are suspect, limit {maximum:.0%}{which}"
    return Check(name, value, maximum, outcome, detail, *interval(value, len(labels)))
