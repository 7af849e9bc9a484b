"""A small transformer encoder (Vaswani and others 2017, arXiv:1706.03762; for images Dosovitskiy and others 2020,
arXiv:2010.11929), with normalisation first (Xiong and others 2020, arXiv:2002.04745).
"""

from __future__ import annotations

from typing import Any

import keras


def transformer(
    shape: tuple[int, ...], classes: int, patch: int = 4, width: int = 64, heads: int = 4, blocks: int = 2
) -> keras.Model:
    """Looks at an image as patches, each attending to all others; the mean of what they became is classified.

    Takes float32 [N, height, width, 1] in 0..255, scaled inside; gives probabilities [N, classes].
    For 28x28 in patches of 4: 7x7x64, 49 tokens of 64, two blocks of the same shape, 64, classes.
    """
    image = keras.Input(shape, name="image")
    x = keras.layers.Rescaling(1.0 / 255)(image)
    x = keras.layers.Conv2D(width, patch, strides=patch, name="patches")(x)
    tokens = x.shape[1] * x.shape[2]
    x = keras.layers.Reshape((tokens, width))(x)
    # Its bias of [tokens, width] is the learned position of each patch.
    x = keras.layers.EinsumDense("ntc,cd->ntd", (tokens, width), bias_axes="td", name="positions")(x)
    for _ in range(blocks):
        x = _block(x, width, heads)
    x = keras.layers.GlobalAveragePooling1D()(keras.layers.LayerNormalization()(x))
    return keras.Model(image, keras.layers.Dense(classes, activation="softmax")(x), name="transformer")


def _block(x: Any, width: int, heads: int) -> Any:
    """Self-attention, then two dense layers, each beside a path that leaves [N, tokens, width] as it was."""
    y = keras.layers.LayerNormalization()(x)
    x = keras.layers.Add()([x, keras.layers.MultiHeadAttention(heads, width // heads)(y, y)])
    y = keras.layers.LayerNormalization()(x)
    y = keras.layers.Dense(2 * width, activation="relu")(y)  # the exact gelu does not export
    return keras.layers.Add()([x, keras.layers.Dense(width)(y)])
