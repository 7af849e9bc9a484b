"""A small recurrent network (LSTM; Hochreiter and Schmidhuber 1997). A GRU would export to ONNX as a slow loop."""

import keras

from models.zoo import ends
from ratchet import kinds
from ratchet.answers import Answers
from ratchet.contract import Contract


def rnn(contract: Contract, answers: Answers, units: int = 128, size: int = 64) -> keras.Model:
    """Two stacked LSTMs; the output [N, width] is made from the second's last state, for a text from its mean state.

    An image (float32 [N, height, width, 1] in 0..255) is read row by row from the top, 28x28 in 28 steps of 28 values.
    A text (int32 [N, max_tokens]) is read token by token, each an embedding of `size`. A series (float32
    [N, window, 1]) is read day by day. The hidden shapes are [N, steps, units] and [N, units].
    """
    kind = kinds.part(contract.kind, "network")
    start = kind.steps(contract, size)
    x = keras.layers.LSTM(units, return_sequences=True)(start.hidden)
    if kind.AVERAGE_STATES:
        x = keras.layers.GlobalAveragePooling1D()(keras.layers.LSTM(units, return_sequences=True)(x))
    else:
        x = keras.layers.LSTM(units)(x)
    return ends.model(start, x, answers, "rnn")
