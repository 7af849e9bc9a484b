"""A small convolutional network for images."""

from __future__ import annotations

import keras


def cnn(shape: tuple[int, ...], classes: int, filters: int = 32, width: int = 64) -> keras.Model:
    """Three convolutions, two poolings, two dense layers.

    Takes float32 [N, height, width, 1] in 0..255, scaled inside; gives probabilities [N, classes].
    For 28x28: 26x26x32, 13x13x32, 11x11x64, 5x5x64, 3x3x64, 576, 64, classes.
    """
    return keras.Sequential(
        [
            keras.Input(shape, name="image"),
            keras.layers.Rescaling(1.0 / 255),
            keras.layers.Conv2D(filters, (3, 3), activation="relu"),
            keras.layers.MaxPooling2D((2, 2)),
            keras.layers.Conv2D(filters * 2, (3, 3), activation="relu"),
            keras.layers.MaxPooling2D((2, 2)),
            keras.layers.Conv2D(filters * 2, (3, 3), activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(width, activation="relu"),
            keras.layers.Dense(classes, activation="softmax"),
        ],
        name="cnn",
    )
