"""How a network begins that reads images."""

from typing import Any

import numpy as np

from ratchet.kinds.image.contract import ImageContract
from ratchet.kinds.parts import Start


def pixels(contract: ImageContract) -> Start:
    """The input float32 [N, height, width, channels]; the same scaled to 0..1."""
    import keras

    entry = keras.Input((contract.height, contract.width, contract.channels), name="image")
    span = contract.high - contract.low
    offset = -contract.low / span if contract.low else 0.0
    return Start(entry, keras.layers.Rescaling(1.0 / span, offset=offset)(entry))


def steps(contract: ImageContract, size: int) -> Start:
    """The rows from the top, [N, height, width channels]."""
    import keras

    start = pixels(contract)
    return Start(start.entry, keras.layers.Reshape((contract.height, contract.width * contract.channels))(start.hidden))


def tokens(contract: ImageContract, size: int, patch: int) -> Start:
    """Patches, [N, patches, size]: 49 for 28x28 in patches of 4."""
    import keras

    start = pixels(contract)
    x: Any = keras.layers.Conv2D(size, patch, strides=patch, name="patches")(start.hidden)
    return Start(start.entry, keras.layers.Reshape((x.shape[1] * x.shape[2], size))(x))


def augment(features: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each image [N, height, width, channels] shifted by up to a twelfth, and every second one mirrored."""
    changed = features.copy()
    mirrored = rng.random(len(features)) < 0.5
    changed[mirrored] = changed[mirrored, :, ::-1]
    most = max(1, min(features.shape[1:3]) // 12)
    padded = np.pad(changed, ((0, 0), (most, most), (most, most), (0, 0)), mode="edge")
    height, width = features.shape[1:3]
    for number, (y, x) in enumerate(rng.integers(0, 2 * most + 1, (len(features), 2))):
        changed[number] = padded[number, y : y + height, x : x + width]
    return changed


AVERAGE_STATES = False
"""The last state of a recurrent network knows the whole image."""
