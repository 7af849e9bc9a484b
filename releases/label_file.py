"""Labels of served requests, read from a file."""

import codecs
import csv
import io
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bentos.caller import is_request_id
from bentos.feedback import read_label, text_of
from ratchet.answers import Answers
from ratchet.endpoints import MAX_BATCH, MAX_ID
from ratchet.errors import Refusal
from ratchet.lake import predictions
from ratchet.lake.outcomes import Key
from ratchet.recipe import Recipe
from releases.ledger import Ledger

MAX_LABELS = 100_000
"""Rows of one file."""
MAX_BYTES = 32 << 20
_DELIMITERS = (",", ";", "\t")
_HEADINGS = ("request", "request id", "request_id", "x-request-id", "id")
_LONGEST = 1 << 17
"""Characters of a cell."""


def decode(content: bytes, source: Path | str) -> str:
    """The text of a file of labels: UTF-8, or what its byte order mark says, as Windows writes both.

    Raises Refusal for any other encoding.
    """
    encoding = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise Refusal(f"the file cannot be read ({error})", source, "Save it as a CSV in UTF-8") from error


def read_file(path: Path, answers: Answers, recipe: str) -> dict[Key, str]:
    """The labels of a file. Raises Refusal as `read` does, or if it is too large."""
    with path.open("rb") as file:
        return read_bytes(file.read(MAX_BYTES + 1), answers, recipe, path)


def read_bytes(content: bytes, answers: Answers, recipe: str, source: Path | str) -> dict[Key, str]:
    """The labels of a file's bytes. Raises Refusal as `read` does, or if there are too many."""
    if len(content) > MAX_BYTES:
        raise Refusal(f"the file is larger than {MAX_BYTES >> 20} MB", source, "Split the file")
    return read(decode(content, source), answers, recipe, source)


def add(ledger: Ledger, recipe: Recipe, labels: Mapping[Key, str], source: str, who: str) -> None:
    """Keeps labels: in the lake, and in the ledger for a version that is on trial."""
    predictions.add_feedback(recipe.name, labels, source, who)
    if on_trial := classes(recipe.answers, labels):
        ledger.add_labels(recipe.name, on_trial, time.time())


def read(text: str, answers: Answers, recipe: str, source: Path | str) -> dict[Key, str]:
    """The label by request id and row, from rows of `request id,label`, or `request id,row,label` for a batch.

    Columns are separated by a comma, a semicolon or a tab, and lines end as on any system. The first row may be a
    heading. Raises Refusal naming the first row of another form; then no label counts.
    """
    labels: dict[Key, str] = {}
    lines = io.StringIO(text, newline=None).read().split("\n")
    if re.fullmatch(r"sep=.", lines[0]):  # which Excel writes and reads; its line still counts
        lines[0] = ""
    csv.field_size_limit(_LONGEST)  # another reader of this process may have raised it
    try:
        delimiter = _delimiter(lines, answers)
        for line, row in enumerate(csv.reader(lines, delimiter=delimiter), 1):
            if not row or (not labels and _is_heading(row, answers)):
                continue
            key, label = _read_row(row, answers, recipe, delimiter, f"{source}, line {line}")
            if (above := labels.setdefault(key, label)) != label:
                which = f"row {key[1]} of the request {key[0]}" if key[1] else f"the request {key[0]}"
                what = f"{which} is {label!r} here, and {above!r} above"
                raise Refusal(what, f"{source}, line {line}", "Correct the file")
            if len(labels) > MAX_LABELS:
                raise Refusal(f"there are more than {MAX_LABELS} labels", source, "Split the file")
    except csv.Error as error:
        raise Refusal(f"the file cannot be read ({error})", source, "Give a CSV in UTF-8") from error
    if not labels:
        raise Refusal("the file holds no label", source, "Give rows of `request id,label`")
    return labels


def classes(answers: Answers, labels: Mapping[Key, str]) -> dict[str, int]:
    """The number of the class of each request's first row; empty for a task without classes."""
    if not answers.classes:
        return {}
    known = ((request, label) for (request, row), label in labels.items() if row == 0 and _is_label(label, answers))
    return {request: answers.read_label(label) for request, label in known}


def _read_row(row: Sequence[str], answers: Answers, recipe: str, delimiter: str, which: str) -> tuple[Key, str]:
    cells = [cell.strip() for cell in row]
    number = cells[1] if len(cells) == 3 else "0"
    if (
        len(cells) not in (2, 3)
        or not is_request_id(cells[0])
        or not re.fullmatch(r"\d{1,4}", number)
        or int(number) >= MAX_BATCH
    ):
        expected = f"`request id{delimiter}label` or `request id{delimiter}row{delimiter}label`"
        what = f"the row is not {expected}, with an id of at most {MAX_ID} printable characters"
        raise Refusal(what, which, "Correct the file")
    label = text_of(cells[-1]) or ""
    read_label(answers, label, recipe, which)
    return (cells[0], int(number)), label


def _delimiter(lines: Iterable[str], answers: Answers) -> str:
    """The one that separates the first row into an id and a label, or at least into two columns."""
    first = next((line for line in lines if line.strip()), "")
    rows = {each: next(csv.reader([first], delimiter=each)) for each in _DELIMITERS}
    split = {each: row for each, row in rows.items() if len(row) in (2, 3)}
    fitting = [each for each, row in split.items() if _is_label(row[-1], answers) or _is_heading(row, answers)]
    return next(iter([*fitting, *split, ","]))


def _is_heading(row: Sequence[str], answers: Answers) -> bool:
    return len(row) in (2, 3) and row[0].strip().lower() in _HEADINGS and not _is_label(row[-1], answers)


def _is_label(cell: str, answers: Answers) -> bool:
    try:
        answers.read_label(text_of(cell.strip()))
    except Refusal:
        return False
    return True
