"""How a network begins that reads windows of a series, and how its forecast is made."""

from typing import Any

from ratchet.kinds.parts import Start
from ratchet.kinds.series.contract import SeriesContract


def steps(contract: SeriesContract, size: int) -> Start:
    """The input float32 [N, window, 1]; its days [N, window / horizon, 2 horizon].

    If values may be missing, they are [N, window, 2] and [N, window / horizon, 3 horizon]: a day also has which are.

    A day is as long as the horizon, and enters with its values and its differences from the last day. The forecast is
    the last day plus two learnt terms: a linear one from the differences (a highway, as in TiDE, Das and others 2023,
    arXiv:2304.08424), and one from the network.
    """
    import keras

    scale, middle = (contract.high - contract.low) / 100, (contract.high + contract.low) / 2
    entry = keras.Input((contract.window, 2 if contract.fill else 1), name="series")
    by_day = keras.layers.Reshape((contract.window // contract.horizon, contract.horizon))
    days, missing = by_day(entry[..., 0]), [by_day(entry[..., 1])] if contract.fill else []
    last = days[:, -1, :]
    differences = (days - keras.ops.expand_dims(last, 1)) / scale

    def forecast(x: Any, width: int) -> Any:
        highway = keras.layers.Dense(width, use_bias=False, kernel_initializer="zeros", name="highway")
        learnt = keras.layers.Dense(width, kernel_initializer="zeros")(x)
        return last + scale * (learnt + highway(keras.layers.Flatten()(differences)))

    return Start(entry, keras.layers.Concatenate()([(days - middle) / (10 * scale), differences, *missing]), forecast)


def tokens(contract: SeriesContract, size: int, patch: int) -> Start:
    """The same."""
    return steps(contract, size)


AVERAGE_STATES = False
"""The newest day is the last step."""
