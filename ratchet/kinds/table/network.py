"""How a network begins that reads rows of a table."""

from ratchet.kinds.parts import Start
from ratchet.kinds.table.contract import UNSEEN, TableContract


def columns(contract: TableContract) -> Start:
    """The input float32 [N, F]; its numbers, and an embedding of each category, side by side [N, any].

    The size of an embedding grows with the fourth root of the number of categories, as in Google's rule of thumb
    (Introducing TensorFlow Feature Columns, 2017), times three.
    """
    import keras

    width = contract.features(contract.example()).shape[1]
    entry = keras.Input((width,), name="table")
    parts, at = [], 0
    for column in contract.feature_columns:
        size = contract.width_of(column)
        values = entry[:, at : at + size]
        at += size
        if column.is_category:
            places = UNSEEN + 1 + (len(column.values) or column.most)
            embedding = keras.layers.Embedding(places, max(2, round(3 * places**0.25)))
            values = embedding(keras.ops.cast(values[:, 0], "int32"))
        parts.append(values)
    return Start(entry, keras.layers.Concatenate()(parts) if len(parts) > 1 else parts[0])
