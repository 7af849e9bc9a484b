"""Whether the benchmark was trained on after all, or is labelled wrongly itself. Pure."""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from models.judge.share import interval
from ratchet.texts import tokens
from ratchet.words import Check, Outcome

_ALIKE = 0.99
"""Correlation of two images from which they are one picture: 0.5 % of Fashion-MNIST's test set reach it."""
_SHARED, _SKETCH, _RUN = 0.8, 64, 4


def images(held: np.ndarray, trained: np.ndarray) -> np.ndarray:
    """Which of the images [N, height, width] have one among those trained on [M, ...] that correlates by 0.99."""
    asked, best = _centred(held), np.zeros(len(held), np.float32)
    for at in range(0, len(trained), 4096):  # all at once would take gigabytes
        best = np.maximum(best, (asked @ _centred(trained[at : at + 4096]).T).max(axis=1))
    return best >= _ALIKE


def _centred(inputs: np.ndarray) -> np.ndarray:
    """Each as a vector of length one around nothing, [N, pixels]; a large image in means of blocks, about 32 a side."""
    height, width = inputs.shape[1:]
    y, x = max(1, height // 32), max(1, width // 32)
    cut = inputs[:, : height // y * y, : width // x * x]
    small = cut.reshape(len(cut), height // y, y, width // x, x).mean(axis=(2, 4), dtype=np.float32)
    flat = small.reshape(len(small), -1)
    flat -= flat.mean(axis=1, keepdims=True)
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6))


def texts(held: np.ndarray, trained: np.ndarray) -> np.ndarray:
    """Which of the texts [N] share four fifths of their runs of four tokens with one of those trained on [M].

    By the smallest 64 hashes of each (Broder, On the resemblance and containment of documents, 1997).
    """
    known = [_sketch(str(text)) for text in trained]
    holders = defaultdict(list)
    for number, sketch in enumerate(known):
        for mark in sketch:
            holders[mark].append(number)
    return np.array([_seen(_sketch(str(text)), known, holders) for text in held], bool)


def _sketch(text: str) -> frozenset[int]:
    words = tokens(text, 512)
    runs = {" ".join(words[i : i + _RUN]) for i in range(max(1, len(words) - _RUN + 1))}
    return frozenset(sorted(zlib.crc32(run.encode()) for run in runs)[:_SKETCH])


def _seen(sketch: frozenset[int], known: Sequence[frozenset[int]], holders: dict[int, list[int]]) -> bool:
    shared = Counter(number for mark in sketch for number in holders.get(mark, ()))
    return any(_resemblance(sketch, known[number]) >= _SHARED for number, _ in shared.most_common(5))


def _resemblance(one: frozenset[int], other: frozenset[int]) -> float:
    smallest = sorted(one | other)[:_SKETCH]
    return sum(mark in one and mark in other for mark in smallest) / len(smallest)


NEAR = {"image": images, "text": texts}


def duplicates(near: np.ndarray, right: np.ndarray, most: float | None) -> Check:
    """Passes when at most that share of the benchmark [N] is `near` to something trained on."""
    name = "near-duplicates across sides"
    if most is None:
        return Check(name, None, None, "not asked", "the recipe sets no bound")
    figure = float(near.mean())
    rest = f"{right[~near].mean():.4f} without them, {right.mean():.4f} with" if (~near).any() else "none is left"
    outcome: Outcome = "pass" if figure <= most else "fail"
    detail = f"{figure:.2%} of {len(near)} records have a near-duplicate among those trained on; accuracy {rest}"
    return Check(name, figure, most, outcome, f"{detail}; at most {most:.0%}", *interval(figure, len(near)))


def doubtful(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Numbers of the records whose label the model disputes with confidence, the surest first.

    It gives another class as much as it gives that class on average where the label says so.
    Source: Northcutt and others, Confident Learning, 2021 (arXiv:1911.00068), section 3.1.
    """
    count = probabilities.shape[1]
    usual = np.array([probabilities[labels == c, c].mean() if (labels == c).any() else np.inf for c in range(count)])
    other = probabilities.copy()
    other[np.arange(len(labels)), labels] = 0.0
    sure = np.where(other >= usual, other, 0.0).max(axis=1)
    found = np.flatnonzero((sure > 0) & (probabilities.argmax(axis=1) != labels))
    return found[np.argsort(-sure[found], kind="stable")]


def noise(labels: np.ndarray, probabilities: np.ndarray, records: Sequence[str], most: float | None) -> Check:
    """Passes when at most that share of the labels [N] is disputed; `records` are digests [N], some of them told."""
    name = "disputed labels"
    if most is None:
        return Check(name, None, None, "not asked", "the recipe sets no bound")
    found = doubtful(labels, probabilities)
    figure = len(found) / len(labels)
    outcome: Outcome = "pass" if figure <= most else "fail"
    first = ", ".join(str(records[i])[:12] for i in found[:5])
    which = f"; look at {first}" if first else ""
    detail = f"{figure:.2%} of {len(labels)}, at most {most:.0%}{which}"
    return Check(name, figure, most, outcome, detail, *interval(figure, len(labels)))
