"""Attributes an output to regions of its input by occlusion: each region is hidden in turn. Needs only NumPy.

The model is called on at most `MAX_REGIONS` occluded inputs, whatever the size of the input, so the cost is bounded.
Sources: Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, 2014 (arXiv:1311.2901), section 4.2;
for words Li, Monroe and Jurafsky, Understanding Neural Networks through Representation Erasure, 2016
(arXiv:1612.08220).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ratchet.answers import Answers
from ratchet.contract import Contract

MAX_REGIONS, _MAX_BATCH, _MAX_BYTES = 64, 16, 4 << 20


@dataclass(frozen=True)
class Attribution:
    """`region` is top, bottom, left, right of an image in pixels, or start and stop of characters, steps or columns.

    `weight` is how much probability the predicted class, or the most probable label, loses if the region is occluded.
    Of a number it is how much lower the answer is without it, and of a forecast the mean absolute change over the
    horizon, in their units.
    """

    region: tuple[int, ...]
    weight: float


def attribute(
    contract: Contract, answers: Answers, predict: Callable[[np.ndarray], np.ndarray], input: np.ndarray
) -> tuple[np.ndarray, tuple[Attribution, ...]]:
    """The output [width] for an input [1, ...], and the attribution of each region in its order in the input."""
    regions = contract.regions(input, MAX_REGIONS)
    (output,) = predict(input)
    weights: list[float] = []
    size = max(1, min(_MAX_BATCH, _MAX_BYTES // input.nbytes))
    for i in range(0, len(regions), size):
        occluded = np.concatenate([contract.occlude(input, region) for region in regions[i : i + size]])
        weights += answers.attribution(output, predict(occluded)).tolist()
    return output, tuple(Attribution(region, round(weight, 5)) for region, weight in zip(regions, weights, strict=True))
