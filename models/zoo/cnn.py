"""A small convolutional network for images."""

import keras

from models.zoo import ends
from ratchet import kinds
from ratchet.answers import Answers
from ratchet.contract import Contract


def cnn(contract: Contract, answers: Answers, filters: int = 32, dense: int = 64) -> keras.Model:
    """Three convolutions, two poolings, two dense layers.

    The input is float32 [N, height, width, 1] in 0..255, scaled inside; the output is [N, width].
    Shapes for 28x28: 26x26x32, 13x13x32, 11x11x64, 5x5x64, 3x3x64, 576, 64, width.
    """
    start = kinds.part(contract.kind, "network").pixels(contract)
    x = start.hidden
    for layer in (
        keras.layers.Conv2D(filters, (3, 3), activation="relu"),
        keras.layers.MaxPooling2D((2, 2)),
        keras.layers.Conv2D(filters * 2, (3, 3), activation="relu"),
        keras.layers.MaxPooling2D((2, 2)),
        keras.layers.Conv2D(filters * 2, (3, 3), activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(dense, activation="relu"),
    ):
        x = layer(x)
    return ends.model(start, x, answers, "cnn")
