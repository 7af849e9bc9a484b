"""Where a network begins and ends: an input of each kind as a sequence, and what was learnt as an answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from ratchet.contract import Contract
from ratchet.series import SeriesContract
from ratchet.texts import TextContract

End = Callable[[Any], Any]
"""Makes the answer [N, width] of features [N, any]."""


def image(contract: Contract, width: int) -> tuple[Any, Any, End]:
    """The input float32 [N, height, width, 1] in 0..255; the same in 0..1; probabilities."""
    entry = keras.Input((*contract.shape, 1), name="image")
    return entry, keras.layers.Rescaling(1.0 / 255)(entry), _probabilities(width)


def sequence(contract: Contract, width: int, size: int) -> tuple[Any, Any, End]:
    """Those of a text or a series, which are sequences as they come."""
    if isinstance(contract, TextContract):
        return text(contract, width, size)
    assert isinstance(contract, SeriesContract)
    return series(contract, width)


def text(contract: TextContract, width: int, size: int) -> tuple[Any, Any, End]:
    """The input int32 [N, length] of token ids; a vector of `size` for each, [N, length, size]; probabilities."""
    entry = keras.Input((contract.length,), dtype="int32", name="text")
    return entry, keras.layers.Embedding(contract.words, size)(entry), _probabilities(width)


def series(contract: SeriesContract, width: int) -> tuple[Any, Any, End]:
    """The input float32 [N, window, 1]; its days [N, window / horizon, 2 horizon]; the forecast in its units.

    A day is as long as the horizon. Each is told as it is and as it differs from the last. The forecast is the last
    day, and what is learnt to add: straight from the differences (a linear highway, as in TiDE, Das and others 2023,
    arXiv:2304.08424) and by the network.
    """
    scale, middle = (contract.high - contract.low) / 100, (contract.high + contract.low) / 2
    entry = keras.Input((contract.window, 1), name="series")
    days = keras.layers.Reshape((contract.window // contract.horizon, contract.horizon))(entry)
    last = days[:, -1, :]
    differences = (days - keras.ops.expand_dims(last, 1)) / scale

    def end(x: Any) -> Any:
        straight = keras.layers.Dense(width, use_bias=False, kernel_initializer="zeros", name="straight")
        added = keras.layers.Dense(width, kernel_initializer="zeros")(x)
        return last + scale * (added + straight(keras.layers.Flatten()(differences)))

    return entry, keras.layers.Concatenate()([(days - middle) / (10 * scale), differences]), end


def _probabilities(width: int) -> End:
    return lambda x: keras.layers.Dense(width, activation="softmax")(x)
