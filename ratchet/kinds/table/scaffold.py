"""Outlines a recipe for a table: types, ranges, what may be missing, and the columns that are better no features."""

import json
import math
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ratchet.contract import given_fields
from ratchet.errors import Refusal
from ratchet.evaluation import association
from ratchet.kinds.table import sources
from ratchet.kinds.table.column import Column
from ratchet.kinds.table.contract import TableContract
from ratchet.lake import tabular
from ratchet.lake.outline import Given, Outline, quoted, read
from ratchet.lake.times import ISO, Times
from ratchet.layout import DETECTED, Layout

_ROWS = 50_000
"""Rows that are looked at."""
_LEAK = 0.3
_TARGETS = ("label", "target", "class", "y")


@dataclass(frozen=True)
class _Guess:
    column: Column
    note: str
    """For people, as a comment beside it."""


def outline(source: Path, given: Given) -> Outline:
    """The types are those that all values of a column have; `target` is the column with the label."""
    rows, typed = _sample(source, given.layout)
    names, target = [name for name in rows[0] if not _is_nested(rows, name)], given.target
    if nested := [name for name in rows[0] if name not in names]:
        left_out = f"        # left out, since their cells are lists or objects: {', '.join(nested)[:300]}\n"
    else:
        left_out = ""
    if not target:
        target = next((name for name in _TARGETS if name in names), "")
    if target not in names:
        next_ = f"Name it with --target; the columns are {', '.join(names)[:300]}"
        raise Refusal(f"it has no column {target or _TARGETS[0]!r}", source, next_)
    labels = [row[target] for row in rows]
    losses = _losses([None if label in (None, "") else str(label) for label in labels])
    guesses = [_guess(name, [row[name] for row in rows], typed, losses) for name in names if name != target]
    if not any(guess.column.feature for guess in guesses):
        raise Refusal("none of its columns can be a feature", source, "Give a table with a column that tells something")
    id = next((guess.column.name for guess in guesses if _is_id(guess, rows)), "")
    contract = TableContract(tuple(guess.column for guess in guesses), target=target, id=id)
    lines = "".join(f"            {_code(guess.column)},{_comment(guess.note)}\n" for guess in guesses)
    named = f"        id={quoted(id)},\n" if id else ""
    columns = f"{left_out}        columns=(\n{lines}        ),\n"
    call = f"TableContract(\n{columns}        target={quoted(target)},\n{named}    )"
    read_ = read(source, contract, given.layout)
    return Outline(read_, contract, {"call": call, "family": "boosting", "also": "Column"})


def _is_nested(rows: Sequence[Mapping[str, Any]], name: str) -> bool:
    return any(isinstance(row.get(name), list | dict) for row in rows)


def _is_id(guess: _Guess, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether every row has another value in that column, which is no feature."""
    column = guess.column
    return not column.feature and not column.missing and len({row[column.name] for row in rows}) == len(rows)


def _sample(source: Path, layout: Layout) -> tuple[list[dict[str, Any]], bool]:
    """Rows, and whether their cells have types."""
    try:
        first = list(islice(tabular.rows(source, None, layout, lambda fact: None, sources.HINT), _ROWS))
    except (OSError, EOFError, ValueError, zlib.error) as error:  # pyarrow's and gzip's are of these types
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise Refusal(f"the file cannot be read ({reason})", source, "Give an intact file") from error
    rows = [dict(row.cells) for row in first if not row.problem]
    if not rows:
        raise Refusal("it has no row that can be read", source, sources.HINT)
    if layout.time or layout.zone:
        for name in rows[0]:
            _read_times(rows, name, layout)
    return rows, first[0].typed


def _read_times(rows: Sequence[dict[str, Any]], name: str, layout: Layout) -> None:
    """Gives the times of a column their zone, if all of its values are times of the layout's form."""
    cells = [row.get(name) for row in rows]
    try:
        times = Times(cells, layout)
        moments = [times.read(cell, name) if cell not in (None, "") else None for cell in cells]
    except Refusal:
        return
    if layout.time or times.notation == ISO:
        for row, moment in zip(rows, moments, strict=True):
            row[name] = moment


def _is_local_time(value: Any) -> bool:
    """Whether a text is a time that names no zone."""
    return isinstance(value, str) and len(value) > 10 and Times([], DETECTED).notation_of(value) == ISO


def _losses(labels: Sequence[str | None]) -> np.ndarray:
    """The losses [N, K] of constant answers: wrong classes, or distances of numbers."""
    known = [label for label in labels if label is not None]
    try:
        numbers = np.array([float(label) if label is not None else math.nan for label in labels])
    except ValueError:
        numbers = None
    if numbers is not None and len(set(known)) > 30:
        numbers = np.where(np.isnan(numbers), np.nanmedian(numbers), numbers)
        return np.abs(numbers[:, None] - np.unique(np.quantile(numbers, np.linspace(0.01, 0.99, 49))))
    classes = [name for name, _ in Counter(known).most_common(50)]
    return np.array([[float(label != name) for name in classes] for label in labels])


def _guess(name: str, cells: Sequence[Any], typed: bool, losses: np.ndarray) -> _Guess:
    type_, values = _type(name, cells, typed)
    known = [value for value in values if value is not None]
    missing = 1 - len(known) / len(values)
    share = 0.0 if not missing else min(1.0, round(2 * missing + 0.01, 2))
    if not known:
        return _Guess(Column(name, "category", missing=1.0, feature=False), "has no value")
    if type_ == "category" and all(map(_is_local_time, known)):
        return _Guess(Column(name, "category", share, feature=False), "has times without a zone: `--zone` reads them")
    if type_ == "category" and _is_prose(known):
        longest = max(map(len, known))
        if longest > 1000:
            column = Column(name, "category", share, length=2 * longest, feature=False)
            return _Guess(column, "is long prose, which the kind `text` reads")
        return _Guess(Column(name, "text", share, length=2 * longest), "its most frequent words are read")
    column, note = _column(name, type_, share, known)
    if not all(_fits(column, value) for value in known):
        return _Guess(Column(name, "category", missing=1.0, feature=False), "has values that cannot be printed")
    if column.is_text and len(set(known)) > 0.9 * len(known) and len(known) > 50:
        return _Guess(_without(column), "differs in nearly every row, as an id does")
    if len(set(known)) == 1 and not missing:
        return _Guess(_without(column), "has one value only")
    array = np.array([column.nothing if value is None else column.read(value, name) for value in values])
    saved = association.explained(association.bins(array), losses)
    if saved > _LEAK:
        return _Guess(_without(column), f"saves {saved:.0%} of the error alone: does it leak?")
    return _Guess(column, note)


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


def _code(column: Column) -> str:
    """The column as it stands in the recipe: what is as by default is left out."""
    given = {name: value for name, value in given_fields(column).items() if name not in ("name", "type")}
    arguments = ", ".join(f"{name}={value!r}" for name, value in given.items())
    start = f"Column({quoted(column.name)}, {json.dumps(column.type)}"
    return f"{start}, {arguments})" if arguments else f"{start})"


def _comment(note: str) -> str:
    return f"  # {note}" if note else ""
