"""A small residual network for images in colour (He and others 2016, arXiv:1603.05027, with normalization first).

Every epoch trains on images that are shifted, and mirrored by chance; see `augment` of the kind of input.
"""

from typing import Any

import keras

from models.zoo import ends
from ratchet import kinds
from ratchet.answers import Answers
from ratchet.contract import Contract

_MOMENTUM = 0.9
"""Of the means that an export uses: an epoch of few pictures has few steps."""


def resnet(contract: Contract, answers: Answers, filters: int = 32, stages: int = 4, blocks: int = 1) -> keras.Model:
    """Stages of residual blocks, each half as large and with twice the filters, and the mean over the places.

    The input is float32 [N, height, width, channels], scaled inside; the output is [N, width]. Images above 96 pixels
    begin with half the size.
    """
    start = kinds.part(contract.kind, "network").pixels(contract)
    x = start.hidden
    stride = 2 if min(x.shape[1:3]) > 96 else 1
    x = keras.layers.Conv2D(filters, 3, strides=stride, padding="same", use_bias=False)(x)
    for stage in range(stages):
        for block in range(blocks):
            x = _block(x, filters * 2**stage, 2 if stage and not block else 1)
    x = keras.layers.Activation("relu")(keras.layers.BatchNormalization(momentum=_MOMENTUM)(x))
    return ends.model(start, keras.layers.GlobalAveragePooling2D()(x), answers, "resnet")


def _block(x: Any, filters: int, stride: int) -> Any:
    """[N, height, width, any] becomes [N, height / stride, width / stride, filters]."""
    y = keras.layers.Activation("relu")(keras.layers.BatchNormalization(momentum=_MOMENTUM)(x))
    shortcut = x
    if stride > 1 or x.shape[-1] != filters:
        shortcut = keras.layers.Conv2D(filters, 1, strides=stride, padding="same", use_bias=False)(y)
    y = keras.layers.Conv2D(filters, 3, strides=stride, padding="same", use_bias=False)(y)
    y = keras.layers.Activation("relu")(keras.layers.BatchNormalization(momentum=_MOMENTUM)(y))
    y = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(y)
    return keras.layers.Add()([shortcut, y])
