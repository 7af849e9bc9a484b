"""Outlines a recipe for a table: types, ranges, what may be missing, and the columns that are better no features."""

import json
import math
import re
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ratchet.contract import given_fields
from ratchet.errors import Refusal
from ratchet.kinds.table import sources
from ratchet.kinds.table.column import Column
from ratchet.kinds.table.contract import TableContract
from ratchet.kinds.table.guess import DIFFERS, Guess, guess
from ratchet.lake import tabular
from ratchet.lake.outline import Given, Outline, quoted, read
from ratchet.lake.times import ISO, Times
from ratchet.layout import Layout

_ROWS = 50_000
"""Rows that are looked at."""
_TARGETS = ("label", "target", "class", "y")


def outline(source: Path, given: Given) -> Outline:
    """The types are those that all values of a column have; `target` is the column with the label."""
    rows, typed = _sample(source, given.layout)
    target = given.target or next((name for name in _TARGETS if name in rows[0]), "")
    if typed and target in rows[0]:  # it may be a list of labels
        rows = [{**row, target: tabular.text_of(row.get(target))} for row in rows]
    usable = {name: not _is_unusable(name, [row.get(name) for row in rows]) for name in rows[0]}
    names = [name for name in rows[0] if usable[name]]
    others = ", ".join(repr(name[:40]) for name in rows[0] if not usable[name])[:300]
    left_out = (
        f"        # left out, by their name or since their cells are lists or objects: {others}\n" if others else ""
    )
    if target not in names:
        next_ = f"Name it with --target; the columns are {', '.join(names)[:300]}"
        raise Refusal(f"it has no column {target or _TARGETS[0]!r}", source, next_)
    labels = [row[target] for row in rows]
    losses = _losses([None if label in (None, "") else str(label) for label in labels])
    guesses = [guess(name, [row[name] for row in rows], typed, losses) for name in names if name != target]
    if not any(each.column.feature for each in guesses):
        raise Refusal("none of its columns can be a feature", source, "Give a table with a column that tells something")
    id = _id(guesses, rows)
    guesses = [each.as_id() if each.column.name == id else each for each in guesses]
    contract = TableContract(tuple(each.column for each in guesses), target=target, id=id)
    lines = "".join(f"            {_code(each.column)},{_comment(each.note)}\n" for each in guesses)
    named = f"        id={quoted(id)},\n" if id else ""
    columns = f"{left_out}        columns=(\n{lines}        ),\n"
    call = f"TableContract(\n{columns}        target={quoted(target)},\n{named}    )"
    read_ = read(source, contract, given.layout)
    fields = {"call": call, "family": "boosting", "also": "Column"}
    return Outline(read_, contract, fields, tuple(_remark(each) for each in guesses if not each.column.feature))


def _remark(guess: Guess) -> str:
    return f"the column {guess.column.name!r} is no feature: it {guess.note}"


_CELLS = str, int, float, Decimal, date


def _is_unusable(name: str, cells: Sequence[Any]) -> bool:
    """Whether it is no name of a column, as that of an index, or a cell is none: a list, bytes, a time span."""
    if not name.strip() or not name.isprintable() or len(name) > 200:
        return True
    return any(cell is not None and not isinstance(cell, _CELLS) for cell in cells)


def _id(guesses: Sequence[Guess], rows: Sequence[Mapping[str, Any]]) -> str:
    """The column that differs in every row: one that is named as an id, or else one of texts; empty if there is none.

    A number with decimals is measured and names nothing.
    """
    ids = [
        each.column
        for each in guesses
        if (each.column.type == "integer" or each.note == DIFFERS)
        and not each.column.missing
        and len({row[each.column.name] for row in rows}) == len(rows)
    ]
    named = [column.name for column in ids if re.search(r"(^|[ _-])(id|key|uuid|guid|nr|number)$", column.name.lower())]
    texts = [column.name for column in ids if column.type == "category"]
    return next(iter([*named, *texts]), "")


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


def _code(column: Column) -> str:
    """The column as it stands in the recipe: what is as by default is left out."""
    given = {name: value for name, value in given_fields(column).items() if name not in ("name", "type")}
    arguments = ", ".join(f"{name}={value!r}" for name, value in given.items())
    start = f"Column({quoted(column.name)}, {json.dumps(column.type)}"
    return f"{start}, {arguments})" if arguments else f"{start})"


def _comment(note: str) -> str:
    return f"  # {note}" if note else ""
