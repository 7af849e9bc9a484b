"""What an evaluation does with rows of a table: slices by the value of a column. Pure."""

from collections.abc import Mapping, Sequence

import numpy as np

from ratchet.evaluation.thirds import Masks, thirds
from ratchet.kinds.parts import Perturbation, Slices
from ratchet.kinds.table.column import Column
from ratchet.kinds.table.contract import UNSEEN, TableContract
from ratchet.tokenizer import tokens

PERTURBATIONS: Mapping[str, Perturbation] = {}
prefixed = near = None
_MOST = 12
"""Categories that are slices of their own; the others are one."""


def columns(contract: TableContract, inputs: np.ndarray) -> Mapping[str, np.ndarray]:
    """The values [N] of each feature; of a text, the number of its words."""
    return {column.name: _values(column, inputs) for column in contract.feature_columns}


def _values(column: Column, inputs: np.ndarray) -> np.ndarray:
    values = inputs[column.name]
    return np.array([len(tokens(text)) for text in values.tolist()], float) if column.type == "text" else values


def unseen(contract: TableContract, inputs: np.ndarray, vocabulary: Sequence[str]) -> tuple[str, float] | None:
    """The share of the categories that have no place of their own."""
    categories = contract.categories()
    if not categories:
        return None
    return "categories", float((contract.features(inputs, vocabulary)[:, categories] == UNSEEN).mean())


def slices(contract: TableContract) -> Mapping[str, Slices]:
    """By the name of a feature: its most frequent categories, or thirds of its numbers, and rows without a value.

    A text counts as the number of its words.
    """
    return {column.name: _slices_by(column) for column in contract.feature_columns}


def _slices_by(column: Column) -> Slices:
    def by_value(inputs: np.ndarray) -> Masks:
        values = _values(column, inputs)
        if not column.is_category:
            missing = np.isnan(values)
            masks = thirds(np.where(missing, np.nanmedian(values), values), column.name)
            known = {name: mask & ~missing for name, mask in masks.items()}
            return {**known, f"no {column.name}": missing}
        names, counts = np.unique(values, return_counts=True)
        frequent = names[np.argsort(-counts, kind="stable")][:_MOST]
        each = {f"{column.name} {name or 'missing'}": values == name for name in frequent.tolist()}
        return {**each, f"other {column.name}": ~np.isin(values, frequent)}

    return by_value
