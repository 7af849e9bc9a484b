"""A multi-layer perceptron for rows of a table (Gorishniy and others 2021, arXiv:2106.11959, a strong baseline)."""

import keras

from models.zoo import ends
from ratchet import kinds
from ratchet.answers import Answers
from ratchet.contract import Contract


def mlp(contract: Contract, answers: Answers, units: int = 128, layers: int = 3, dropout: float = 0.1) -> keras.Model:
    """Dense layers with batch normalization and dropout, all [N, units].

    The input is float32 [N, F]: scaled numbers, and the places of categories, which become embeddings. The output is
    [N, width].
    """
    start = kinds.part(contract.kind, "network").columns(contract)
    x = start.hidden
    for _ in range(layers):
        x = keras.layers.Dense(units, use_bias=False)(x)
        x = keras.layers.Activation("relu")(keras.layers.BatchNormalization(momentum=0.9)(x))
        x = keras.layers.Dropout(dropout)(x)
    return ends.model(start, x, answers, "mlp")
