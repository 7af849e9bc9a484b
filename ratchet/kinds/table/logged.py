"""What the prediction log keeps of rows. What is measured is the same in the lake. Needs only NumPy."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ratchet.kinds.table.column import Column
from ratchet.kinds.table.contract import TableContract
from ratchet.tokenizer import tokens


def statistics(contract: TableContract, inputs: np.ndarray) -> dict[str, list[Any]]:
    """The value of each feature of the rows [N]; None where it is missing. A time always changes, and is left out."""
    rows = contract.values(inputs)
    measured_ = (column for column in contract.feature_columns if column in measured(contract))
    return {column.name: [value_of(column, row.get(column.name)) for row in rows] for column in measured_}


def value_of(column: Column, value: Any) -> Any:
    """The value; of a text, the number of its words."""
    return len(tokens(value)) if column.type == "text" and value is not None else value


def measured(contract: TableContract) -> list[Column]:
    """The columns of which something is measured: what names a record or its time always changes."""
    apart = (contract.id, contract.split_by, contract.time)
    return [column for column in contract.columns if column.name not in apart]


def redacted(contract: TableContract, inputs: np.ndarray, what: Sequence[str]) -> np.ndarray:
    """The rows [N] without a value in these columns. Raises ValueError if there is no such feature."""
    features = {column.name: column for column in contract.feature_columns}
    if unknown := set(what) - features.keys():
        raise ValueError(f"`redact` names {min(unknown)!r}, and the features are: {', '.join(features)}")
    rows = inputs.copy()
    for name in what:
        rows[name] = features[name].nothing
    return rows
