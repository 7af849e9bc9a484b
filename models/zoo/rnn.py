"""A small recurrent network (LSTM; Hochreiter and Schmidhuber 1997). Not a GRU, which exports to ONNX as a loop."""

from __future__ import annotations

from typing import Any

import keras

from models.zoo import ends
from ratchet.contract import Contract


def rnn(contract: Contract, width: int, units: int = 128, size: int = 64) -> keras.Model:
    """Two LSTMs one upon the other; the second's last state becomes the answer [N, width], of a text its mean state.

    An image (float32 [N, height, width, 1] in 0..255) is read row by row from the top, for 28x28: 28 steps of 28.
    A text (int32 [N, length]) token by token, each a vector of `size`. A series (float32 [N, window, 1]) day by day.
    Then [N, steps, units], [N, units].
    """
    entry, x, end = _steps(contract, width, size)
    x = keras.layers.LSTM(units, return_sequences=True)(x)
    if contract.kind == "text":  # the last of hundreds of states tells little of the first words
        x = keras.layers.GlobalAveragePooling1D()(keras.layers.LSTM(units, return_sequences=True)(x))
    else:
        x = keras.layers.LSTM(units)(x)
    return keras.Model(entry, end(x), name="rnn")


def _steps(contract: Contract, width: int, size: int) -> tuple[Any, Any, ends.End]:
    if contract.kind != "image":
        return ends.sequence(contract, width, size)
    entry, x, end = ends.image(contract, width)
    return entry, keras.layers.Reshape(contract.shape)(x), end
