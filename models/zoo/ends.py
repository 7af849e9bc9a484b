"""The output of a network, for each kind of answer."""

from typing import Any

import keras

from ratchet.kinds.parts import Start


def model(start: Start, x: Any, width: int, name: str) -> keras.Model:
    """The whole network, from its beginning and its features `x` [N, any]: probabilities [N, width], or a forecast."""
    output = start.forecast(x, width) if start.forecast else keras.layers.Dense(width, activation="softmax")(x)
    return keras.Model(start.entry, output, name=name)
