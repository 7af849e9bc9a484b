"""Encodes rows of a table column by column, with the outcome of `TableContract.encode` and `digest` for each row.

Only rows of usual cells are encoded. Any other, such as one that is refused, is left to the contract, which says why.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import NoneType
from typing import Any

import numpy as np

from ratchet.errors import Refusal
from ratchet.kinds.table.column import EXACT, Column, seconds_of
from ratchet.kinds.table.contract import TableContract


@dataclass(frozen=True)
class EncodedRows:
    """The encoding of rows [N]. Of a row that is not usual nothing here may be used."""

    is_usual: np.ndarray
    rows: Sequence[bytes]
    """Each as JSON."""
    digests: Sequence[str]
    times: Sequence[datetime | None]
    """Of the column with the time, if there is one."""


@dataclass(frozen=True)
class _Column:
    """The cells of a column [N]."""

    texts: Sequence[str]
    """Each as JSON."""
    is_usual: np.ndarray
    numbers: np.ndarray | None = None
    """NaN where one is missing; None if the cells are texts."""


def encode_rows(contract: TableContract, cells: Mapping[str, Sequence[Any]]) -> EncodedRows:
    """The rows [N] with these typed cells by column."""
    columns = {column.name: _encode(column, cells[column.name]) for column in contract.columns}
    is_usual = np.logical_and.reduce([column.is_usual for column in columns.values()])
    fields = ",".join(f"{_name(name)}:%s" for name in columns)
    rows = [row.encode() for row in _filled(f"{{{fields}}}", [column.texts for column in columns.values()])]
    if contract.id:
        identity, parts = f"[{_name(contract.id)},%s]", [columns[contract.id].texts]
        is_usual &= np.array([text != "null" for text in parts[0]])
    else:
        parts = [columns[column.name].texts for column in contract.feature_columns]
        identity = f"[{','.join(['%s'] * len(parts))}]"
    digests = [hashlib.sha256(each.encode()).hexdigest() for each in _filled(identity, parts)]
    if not contract.time:
        return EncodedRows(is_usual, rows, digests, [None] * len(rows))
    times, is_time = _times(cells[contract.time], columns[contract.time].numbers)
    return EncodedRows(is_usual & is_time, rows, digests, times)


def _filled(template: str, texts: Sequence[Sequence[str]]) -> Iterator[str]:
    """The template with the texts of each row, which are given by column."""
    return map(template.__mod__, zip(*texts, strict=True))


def _name(name: str) -> str:
    """The name of a column as JSON, in a template."""
    return json.dumps(name, ensure_ascii=False).replace("%", "%%")


def _times(cells: Sequence[Any], seconds: np.ndarray | None) -> tuple[list[datetime | None], np.ndarray]:
    """The time of each cell [N], None where it is missing; and whether a cell is a time or missing [N]."""
    times: list[datetime | None] = [None] * len(cells)
    if seconds is None:  # of texts
        return times, np.zeros(len(cells), bool)
    is_time = np.ones(len(cells), bool)
    for place in np.flatnonzero(~np.isnan(seconds)).tolist():
        try:
            times[place] = datetime.fromtimestamp(float(seconds[place]), UTC) if cells[place] else None
        except (OverflowError, ValueError, OSError):  # no calendar has such a year
            is_time[place] = False
    return times, is_time


def _encode(column: Column, cells: Sequence[Any]) -> _Column:
    if column.is_text:
        return _encode_texts(column, cells)
    if column.type == "timestamp":
        cells = [None if cell is None or cell == "" else _seconds(cell) for cell in cells]
    return _encode_numbers(column, cells)


def _seconds(cell: Any) -> float:
    """After 1970; infinity, which no column takes, if the cell is no time."""
    try:
        seconds = seconds_of(cell)
    except OverflowError:
        return math.inf
    return math.inf if seconds is None else seconds


def _encode_numbers(column: Column, cells: Sequence[Any]) -> _Column:
    low, high = -math.inf if column.low is None else column.low, math.inf if column.high is None else column.high
    if not (_is_float(low) and _is_float(high)):
        return _without_usual_cells(len(cells))
    usual_types = {float, int, NoneType, *([bool] if column.type == "boolean" else [])}
    is_usual = np.ones(len(cells), bool)
    if not set(map(type, cells)) <= usual_types:
        is_usual = np.array([type(cell) in usual_types for cell in cells])
        cells = [cell if usual else None for cell, usual in zip(cells, is_usual, strict=True)]
    try:
        numbers = np.array(cells, np.float64)
    except OverflowError:  # an integer beyond all floats
        return _without_usual_cells(len(cells))
    is_missing = np.isnan(numbers)
    is_valid = np.isfinite(numbers) & (numbers >= low) & (numbers <= high)
    if column.type == "integer":
        is_valid &= (numbers == np.trunc(numbers)) & (np.abs(numbers) <= EXACT)
    if column.type == "boolean":
        is_valid &= (numbers == 0) | (numbers == 1)
    texts = list(map(float.__repr__, numbers.tolist()))
    for place in np.flatnonzero(is_missing).tolist():
        texts[place] = "null"
    return _Column(texts, is_usual & (is_valid | is_missing if column.missing else is_valid), numbers)


def _without_usual_cells(count: int) -> _Column:
    return _Column(["null"] * count, np.zeros(count, bool), np.full(count, np.nan))


def _is_float(bound: float) -> bool:
    """Whether a bound, which may be a large integer, is the same as a float."""
    try:
        return float(bound) == bound
    except OverflowError:
        return False


def _encode_texts(column: Column, cells: Sequence[Any]) -> _Column:
    if not set(map(type, cells)) <= {str, NoneType}:
        cells = [cell if type(cell) in (str, NoneType) else _NO_TEXT for cell in cells]
    text_of = {cell: _encode_text(column, cell) for cell in set(cells)}
    texts = [text_of[cell] for cell in cells]
    return _Column([text or "null" for text in texts], np.array([text is not None for text in texts]))


_NO_TEXT = "\0"
"""No column takes it."""


def _encode_text(column: Column, cell: str | None) -> str | None:
    """The cell as JSON; None if the column refuses it."""
    try:
        return json.dumps(column.read(cell, "the row", show=False) or None, ensure_ascii=False)
    except Refusal:
        return None
