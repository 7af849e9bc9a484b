"""How a network begins that reads texts."""

from ratchet.kinds.parts import Start
from ratchet.kinds.text.contract import TextContract


def steps(contract: TextContract, size: int) -> Start:
    """The input int32 [N, max_tokens] of token ids; embeddings [N, max_tokens, size]."""
    import keras

    entry = keras.Input((contract.max_tokens,), dtype="int32", name="text")
    return Start(entry, keras.layers.Embedding(contract.vocabulary_size, size)(entry))


def tokens(contract: TextContract, size: int, patch: int) -> Start:
    """The same."""
    return steps(contract, size)


AVERAGE_STATES = True
"""The last of hundreds of states knows little of the first words."""
