"""How a network begins that reads images."""

from typing import Any

from ratchet.kinds.image.contract import ImageContract
from ratchet.kinds.parts import Start


def pixels(contract: ImageContract) -> Start:
    """The input float32 [N, height, width, 1] in 0..255; the same scaled to 0..1."""
    import keras

    entry = keras.Input((*contract.shape, 1), name="image")
    return Start(entry, keras.layers.Rescaling(1.0 / 255)(entry))


def steps(contract: ImageContract, size: int) -> Start:
    """The rows from the top, [N, height, width]."""
    import keras

    start = pixels(contract)
    return Start(start.entry, keras.layers.Reshape(contract.shape)(start.hidden))


def tokens(contract: ImageContract, size: int, patch: int) -> Start:
    """Patches, [N, patches, size]: 49 for 28x28 in patches of 4."""
    import keras

    start = pixels(contract)
    x: Any = keras.layers.Conv2D(size, patch, strides=patch, name="patches")(start.hidden)
    return Start(start.entry, keras.layers.Reshape((x.shape[1] * x.shape[2], size))(x))


AVERAGE_STATES = False
"""The last state of a recurrent network knows the whole image."""
