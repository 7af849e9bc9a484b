"""What may become of rows that are sent, for a replay: something happens to the first column that suits."""

from collections.abc import Callable, Mapping

import numpy as np

from ratchet.errors import Refusal
from ratchet.kinds.parts import Change, Scenario
from ratchet.kinds.table.column import Column
from ratchet.kinds.table.contract import TableContract


def _of_column(
    suits: Callable[[Column], bool], change: Callable[[Column, np.ndarray, np.random.Generator], np.ndarray]
) -> Change:
    """A change of the values [N] of a column."""

    def apply(contract: TableContract, rows: np.ndarray, chance: np.random.Generator) -> np.ndarray:
        column = next(filter(suits, contract.feature_columns), None)
        if column is None:
            raise Refusal("no column of the table can change so", contract.target, "Choose another scenario")
        changed = rows.copy()
        changed[column.name] = change(column, changed[column.name], chance)
        return changed

    return apply


def _missing(column: Column, values: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    return np.full(len(values), column.nothing, values.dtype)


def _other_unit(column: Column, values: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """As if kilometres were sent as miles."""
    return np.maximum(values / 1.609344, -np.inf if column.low is None else column.low)


def _new_category(column: Column, values: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    return np.where(chance.random(len(values)) < 1 / 3, "ZZ"[: column.length], values)


def _shock(column: Column, values: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    return np.minimum(values * 1.5, np.inf if column.high is None else column.high)


def _is_amount(column: Column) -> bool:
    return column.type == "number" and (column.low is None or column.low >= 0)


def _is_open(column: Column) -> bool:
    return column.is_category and not column.values


_MISSING = _of_column(lambda column: column.missing > 0, _missing)
SCENARIOS: Mapping[str, Scenario] = {
    "missing-column": Scenario("a column that may be missing, without any value", _MISSING),
    "unit-change": Scenario("an amount in another unit, 1.61 times as large", _of_column(_is_amount, _other_unit)),
    "new-category": Scenario("an unknown category in every third row", _of_column(_is_open, _new_category)),
    "price-shock": Scenario("an amount that rises by half", _of_column(_is_amount, _shock)),
}
