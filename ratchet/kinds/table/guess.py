"""Guesses what a column of a table is: its type, its range, and whether it should be a feature."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ratchet.errors import Refusal
from ratchet.evaluation import association
from ratchet.kinds.table import sources
from ratchet.kinds.table.column import Column
from ratchet.lake.times import ISO, Times
from ratchet.layout import DETECTED

DIFFERS = "differs in nearly every row, as an id does"
_LEAK = 0.3
"""The share of the error above which a column alone tells too much."""
_WRITTEN = (
    (r"[-+]?\d{1,3}(\.\d{3})*,\d+|[-+]?\d+,\d+", "has numbers with a decimal comma: `--decimal ,` reads them"),
    (r"[-+]?\d{1,3}(,\d{3})+(\.\d+)?|[-+]?\d+(\.\d+)?", "has numbers with separators: write them without"),
    (r"[-+]?\d+([.,]\d+)? ?%", "has percentages: write them as numbers"),
    (r"[$€£] ?[-+]?\d[\d.,]*|[-+]?\d[\d.,]* ?[$€£]", "has amounts of money: write them as numbers"),
    (r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}( \d{1,2}:\d\d(:\d\d)?)?", "has dates: `--time` and `--zone` read them"),
)
"""How people write numbers and dates, each with what a comment says."""


@dataclass(frozen=True)
class Guess:
    column: Column
    note: str
    """For people, as a comment beside it."""

    def as_id(self) -> Guess:
        return Guess(_without(replace(self.column, low=None, high=None)), "differs in every row: the id")


def guess(name: str, cells: Sequence[Any], typed: bool, losses: np.ndarray) -> Guess:
    type_, values = _type(name, cells, typed)
    known = [value for value in values if value is not None]
    missing = 1 - len(known) / len(values)
    share = 0.0 if not missing else min(1.0, round(2 * missing + 0.01, 2))
    if not known:
        return Guess(Column(name, "category", missing=1.0, feature=False), "has no value")
    if type_ == "category" and all(map(_is_local_time, known)):
        return Guess(Column(name, "category", share, feature=False), "has times without a zone: `--zone` reads them")
    if type_ == "category" and (written := _written_as(known)):
        return Guess(_without(_column(name, type_, share, known)[0]), written)
    if type_ == "category" and _is_prose(known):
        longest = max(map(len, known))
        if longest > 1000:
            column = Column(name, "category", share, length=2 * longest, feature=False)
            return Guess(column, "is long prose, which the kind `text` reads")
        return Guess(Column(name, "text", share, length=2 * longest), "its most frequent words are read")
    column, note = _column(name, type_, share, known)
    if not all(_fits(column, value) for value in known):
        return Guess(Column(name, "category", missing=1.0, feature=False), "has values that cannot be printed")
    if column.is_text and len(set(known)) > 0.9 * len(known) and len(known) > 50:
        return Guess(_without(column), DIFFERS)
    if len(set(known)) == 1 and not missing:
        return Guess(_without(column), "has one value only")
    array = np.array([column.nothing if value is None else column.read(value, name) for value in values])
    saved = association.explained(association.bins(array), losses)
    if saved > _LEAK:
        return Guess(_without(column), f"saves {saved:.0%} of the error alone: does it leak?")
    return Guess(column, note)


def _is_prose(known: Sequence[str]) -> bool:
    """Whether texts differ from row to row and have some words each."""
    return len(set(known)) > 0.5 * len(known) and sum(" " in text.strip() for text in known) > 0.8 * len(known)


def _without(column: Column) -> Column:
    return replace(column, feature=False)


def _type(name: str, cells: Sequence[Any], typed: bool) -> tuple[str, list[Any]]:
    """The first type that all values have, and the values."""
    for type_ in ("boolean", "integer", "number", "timestamp", "category"):
        column = Column(name, type_, missing=1.0, length=10_000)
        values = [sources.plain(cell) for cell in cells] if typed else [column.parse(str(cell)) for cell in cells]
        values = [None if isinstance(value, float) and math.isnan(value) else value for value in values]
        if type_ == "integer" and not all(_is_whole(cell) for cell in cells):
            continue
        if type_ == "boolean" and not any(isinstance(value, bool) for value in values):
            continue  # 0 and 1 are numbers
        if all(value is None or _fits(column, value) for value in values):
            return type_, values
    return "category", [None if cell in (None, "") else str(cell) for cell in cells]


def _is_whole(cell: Any) -> bool:
    """Whether a number stands without a decimal point, so that a later one will have none either."""
    return not isinstance(cell, float) and "." not in str(cell)


def _fits(column: Column, value: Any) -> bool:
    try:
        column.read(value, column.name)
    except Refusal:
        return False
    return True


def _column(name: str, type_: str, missing: float, known: Sequence[Any]) -> tuple[Column, str]:
    if type_ == "category":
        longest = max(map(len, known))
        return Column(name, type_, missing, length=max(8, 2 * longest)), f"{len(set(known))} different values"
    if type_ in ("boolean", "timestamp"):
        return Column(name, type_, missing), ""
    low, high = float(min(known)), float(max(known))
    if low == high:
        return Column(name, type_, missing), "has one value only, so there is no range"
    room = (high - low) / 2
    below, above = math.floor(low - room), math.ceil(high + room)
    return Column(name, type_, missing, low=0 if low >= 0 else below, high=above), "the range is a guess"


def _written_as(known: Sequence[str]) -> str:
    """What a comment says of numbers or dates that are written for people; empty if they are none."""
    texts = [text.strip() for text in known]
    return next((note for pattern, note in _WRITTEN if all(re.fullmatch(pattern, text) for text in texts)), "")


def _is_local_time(value: Any) -> bool:
    """Whether a text is a time that names no zone."""
    return isinstance(value, str) and len(value) > 10 and Times([], DETECTED).notation_of(value) == ISO
