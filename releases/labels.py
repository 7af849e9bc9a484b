"""Labels that come back later: read from a file, and compared with both revisions' predictions."""

import codecs
import csv
import io
import re
import unicodedata
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ratchet.errors import Refusal

MAX_LABELS = 100_000
"""Rows of one file."""
MAX_BYTES = 32 << 20
_MAX_KEPT = 8192


_DELIMITERS = (",", ";", "\t")
_HEADINGS = ("request", "request id", "request_id", "x-request-id", "id")


def decode(content: bytes, source: Path | str) -> str:
    """The text of a file of labels: UTF-8, or what its byte order mark says, as Windows writes both.

    Raises Refusal for any other encoding.
    """
    encoding = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise Refusal(f"the file cannot be read ({error})", source, "Save it as a CSV in UTF-8") from error


_LONGEST = 1 << 17
"""Characters of a cell."""


def read(text: str, classes: Sequence[str], source: Path | str) -> dict[str, int]:
    """The number of the class by request id, from rows of `request id,class`.

    Columns are separated by a comma, a semicolon or a tab, and lines end as on any system. The first row may be a
    heading. Raises Refusal naming the first row of another form; then no label counts.
    """
    labels: dict[str, int] = {}
    numbers = {unicodedata.normalize("NFC", name): number for number, name in enumerate(classes)}
    lines = io.StringIO(text, newline=None).read().split("\n")
    if re.fullmatch(r"sep=.", lines[0]):  # which Excel writes and reads; its line still counts
        lines[0] = ""
    csv.field_size_limit(_LONGEST)  # another reader of this process may have raised it
    try:
        delimiter = _delimiter(lines, numbers)
        for line, row in enumerate(csv.reader(lines, delimiter=delimiter), 1):
            if not row or (not labels and len(row) == 2 and _is_heading(row, numbers)):
                continue
            which = f"{source}, line {line}"
            if len(row) != 2 or not re.fullmatch(r"\S{1,64}", row[0].strip()) or not row[0].strip().isprintable():
                what = f"the row is not `request id{delimiter}class` with an id of at most 64 printable characters"
                raise Refusal(what, which, "Correct the file")
            id, class_ = row[0].strip(), unicodedata.normalize("NFC", row[1].strip())
            if class_ not in numbers:
                raise Refusal(f"there is no class {class_!r}", which, f"Choose one of: {', '.join(classes)}")
            if labels.setdefault(id, numbers[class_]) != numbers[class_]:
                other = classes[labels[id]]
                raise Refusal(f"the request {id} is {class_!r} here, and {other!r} above", which, "Correct the file")
            if len(labels) > MAX_LABELS:
                raise Refusal(f"there are more than {MAX_LABELS} labels", source, "Split the file")
    except csv.Error as error:
        raise Refusal(f"the file cannot be read ({error})", source, "Give a CSV in UTF-8") from error
    if not labels:
        raise Refusal("the file holds no label", source, "Give rows of `request id,class`")
    return labels


def _delimiter(lines: Iterable[str], classes: Container[str]) -> str:
    """The one that separates the first row into an id and a class, or at least into two columns."""
    first = next((line for line in lines if line.strip()), "")
    rows = {each: next(csv.reader([first], delimiter=each)) for each in _DELIMITERS}
    pairs = {each: row for each, row in rows.items() if len(row) == 2}
    fitting = [each for each, row in pairs.items() if row[1].strip() in classes or _is_heading(row, classes)]
    return next(iter([*fitting, *pairs, ","]))


def _is_heading(row: Sequence[str], classes: Container[str]) -> bool:
    id, class_ = (cell.strip() for cell in row)
    return id.lower() in _HEADINGS and class_ not in classes


class Labelled:
    """Of baseline and candidate: predictions whose label came back, and those that were wrong. Each counts once."""

    def __init__(self) -> None:
        self.total, self.wrong = [0, 0], [0, 0]
        self._answers: tuple[dict[str, int], dict[str, int]] = ({}, {})
        self._labels: dict[str, int] = {}
        self._counted: tuple[dict[str, int], dict[str, int]] = ({}, {})

    def add_answer(self, side: int, request: str, answer: int) -> None:
        if request in self._labels:
            self._count(side, request, answer)
        else:
            _keep(self._answers[side], request, answer)

    def add_labels(self, labels: Mapping[str, int]) -> None:
        for request in labels.keys() - self._labels.keys():
            _keep(self._labels, request, labels[request])
            for side in (0, 1):
                answer = self._answers[side].pop(request, None)
                if answer is not None:
                    self._count(side, request, answer)

    def _count(self, side: int, request: str, answer: int) -> None:
        if request not in self._counted[side]:  # a caller may use an id many times, which is no new evidence
            _keep(self._counted[side], request, answer)
            self.total[side] += 1
            self.wrong[side] += answer != self._labels[request]


def _keep(kept: dict[str, Any], key: str, value: Any) -> None:
    kept[key] = value
    if len(kept) > _MAX_KEPT:
        kept.pop(next(iter(kept)))
