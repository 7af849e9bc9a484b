"""A point as two steps of one number."""

from ratchet.kinds.point.contract import PointContract

from ratchet.kinds.parts import Start

AVERAGE_STATES = False


def steps(contract: PointContract, size: int) -> Start:
    import keras

    entry = keras.Input((2, 1), name="point")
    return Start(entry, keras.layers.Rescaling(4.0, offset=-2.0)(entry))
