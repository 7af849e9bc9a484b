"""Which parts of an input carried its answer: each is hidden in turn, and the model asked again. Needs only NumPy.

It asks the model at most `MOST` times for one input, whatever its size, so that the cost is bounded.
Sources: Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, 2014 (arXiv:1311.2901), section 4.2;
for words Li, Monroe and Jurafsky, Understanding Neural Networks through Representation Erasure, 2016
(arXiv:1612.08220).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ratchet.answers import Answers
from ratchet.contract import Contract

MOST, _AT_ONCE, _BYTES = 64, 16, 4 << 20


@dataclass(frozen=True)
class Part:
    """`at` is top, bottom, left, right of an image's part, in pixels; first and last of characters or steps.

    `weight` is what the answered class loses where the part is hidden; of a forecast, how far that moves it, on
    average over the horizon and in units of the series.
    """

    at: tuple[int, ...]
    weight: float


def explain(
    contract: Contract, answers: Answers, ask: Callable[[np.ndarray], np.ndarray], one: np.ndarray
) -> tuple[np.ndarray, tuple[Part, ...]]:
    """The answer [width] to an input [1, ...], and the parts that carried it, in their order in the input."""
    places = contract.parts(one, MOST)
    (answer,) = ask(one)
    weights: list[float] = []
    size = max(1, min(_AT_ONCE, _BYTES // one.nbytes))  # no more at once than a request may hold
    for i in range(0, len(places), size):
        hidden = np.concatenate([contract.without(one, at) for at in places[i : i + size]])
        weights += answers.carried(answer, ask(hidden)).tolist()
    return answer, tuple(Part(at, round(w, 5)) for at, w in zip(places, weights, strict=True))
