"""A small recurrent network (LSTM; Hochreiter and Schmidhuber 1997)."""

from __future__ import annotations

import keras


def rnn(shape: tuple[int, ...], classes: int, units: int = 128) -> keras.Model:
    """Reads an image row by row, from the top: two LSTMs, the second's last state is classified.

    Takes float32 [N, height, width, 1] in 0..255, scaled inside; gives probabilities [N, classes].
    For 28x28: 28 steps of 28, 28x128, 128, classes. An LSTM, since a GRU exports to ONNX as a loop.
    """
    height, width, channels = shape
    return keras.Sequential(
        [
            keras.Input(shape, name="image"),
            keras.layers.Rescaling(1.0 / 255),
            keras.layers.Reshape((height, width * channels)),
            keras.layers.LSTM(units, return_sequences=True),
            keras.layers.LSTM(units),
            keras.layers.Dense(classes, activation="softmax"),
        ],
        name="rnn",
    )
