"""The two ends of a network: the input of each kind as a sequence, and the output of each kind of answer."""

from collections.abc import Callable
from typing import Any

import keras

from ratchet.contract import Contract
from ratchet.series import SeriesContract
from ratchet.texts import TextContract

End = Callable[[Any], Any]
"""Makes the output [N, width] from hidden features [N, any]."""


def image(contract: Contract, width: int) -> tuple[Any, Any, End]:
    """The input float32 [N, height, width, 1] in 0..255; the same scaled to 0..1; the end that gives probabilities."""
    entry = keras.Input((*contract.shape, 1), name="image")
    return entry, keras.layers.Rescaling(1.0 / 255)(entry), _probabilities(width)


def sequence(contract: Contract, width: int, size: int) -> tuple[Any, Any, End]:
    """The ends for a text or a series, which are sequences already."""
    if isinstance(contract, TextContract):
        return text(contract, width, size)
    assert isinstance(contract, SeriesContract)
    return series(contract, width)


def text(contract: TextContract, width: int, size: int) -> tuple[Any, Any, End]:
    """The input int32 [N, max_tokens] of token ids; embeddings [N, max_tokens, size]; the end for probabilities."""
    entry = keras.Input((contract.max_tokens,), dtype="int32", name="text")
    return entry, keras.layers.Embedding(contract.vocabulary_size, size)(entry), _probabilities(width)


def series(contract: SeriesContract, width: int) -> tuple[Any, Any, End]:
    """The input float32 [N, window, 1]; its days [N, window / horizon, 2 horizon]; the end that gives the forecast.

    A day is as long as the horizon, and enters with its values and its differences from the last day. The forecast is
    the last day plus two learnt terms: a linear one from the differences (a highway, as in TiDE, Das and others 2023,
    arXiv:2304.08424), and one from the network.
    """
    scale, middle = (contract.high - contract.low) / 100, (contract.high + contract.low) / 2
    entry = keras.Input((contract.window, 1), name="series")
    days = keras.layers.Reshape((contract.window // contract.horizon, contract.horizon))(entry)
    last = days[:, -1, :]
    differences = (days - keras.ops.expand_dims(last, 1)) / scale

    def end(x: Any) -> Any:
        highway = keras.layers.Dense(width, use_bias=False, kernel_initializer="zeros", name="highway")
        learnt = keras.layers.Dense(width, kernel_initializer="zeros")(x)
        return last + scale * (learnt + highway(keras.layers.Flatten()(differences)))

    return entry, keras.layers.Concatenate()([(days - middle) / (10 * scale), differences]), end


def _probabilities(width: int) -> End:
    return lambda x: keras.layers.Dense(width, activation="softmax")(x)
