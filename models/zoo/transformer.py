"""A small transformer encoder (Vaswani and others 2017, arXiv:1706.03762; for images Dosovitskiy and others 2020,
arXiv:2010.11929), with normalisation first (Xiong and others 2020, arXiv:2002.04745).
"""

from typing import Any

import keras

from models.zoo import ends
from ratchet import kinds
from ratchet.answers import Answers
from ratchet.contract import Contract


def transformer(
    contract: Contract, answers: Answers, patch: int = 4, size: int = 64, heads: int = 4, blocks: int = 2
) -> keras.Model:
    """Every token attends to all others; the output [N, width] is made from the mean of the tokens.

    The tokens of an image (float32 [N, height, width, 1] in 0..255) are patches, 49 for 28x28 in patches of 4. Those
    of a text (int32 [N, max_tokens]) are its own, those of a series (float32 [N, window, 1]) its days. The hidden
    shapes are [N, tokens, size] in `blocks` blocks, and [N, size].
    """
    start = kinds.part(contract.kind, "network").tokens(contract, size, patch)
    x = start.hidden
    # Its bias [tokens, size] is the learnt position of each token.
    x = keras.layers.EinsumDense("ntc,cd->ntd", (x.shape[1], size), bias_axes="td", name="positions")(x)
    for _ in range(blocks):
        x = _block(x, size, heads)
    x = keras.layers.GlobalAveragePooling1D()(keras.layers.LayerNormalization()(x))
    return ends.model(start, x, answers, "transformer")


def _block(x: Any, width: int, heads: int) -> Any:
    """Self-attention and two dense layers, each with a residual connection; [N, tokens, width] keeps its shape."""
    y = keras.layers.LayerNormalization()(x)
    x = keras.layers.Add()([x, keras.layers.MultiHeadAttention(heads, width // heads)(y, y)])
    y = keras.layers.LayerNormalization()(x)
    y = keras.layers.Dense(2 * width, activation="relu")(y)  # the exact gelu does not export
    return keras.layers.Add()([x, keras.layers.Dense(width)(y)])
