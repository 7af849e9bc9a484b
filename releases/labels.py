"""Labels that come back later: read from a file, and compared with both revisions' predictions."""

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ratchet.errors import Refusal

MAX_LABELS = 100_000
"""Rows of one file."""
_MAX_KEPT = 8192


def read(lines: Iterable[str], classes: Sequence[str], source: Path | str) -> dict[str, int]:
    """The number of the class by request id, from rows of `request id,class`; a first row may be `request,label`.

    Raises Refusal naming the first row of another form; then no label counts.
    """
    labels: dict[str, int] = {}
    numbers = {name: number for number, name in enumerate(classes)}
    try:
        for line, row in enumerate(csv.reader(lines), 1):
            if not row or (line == 1 and row == ["request", "label"]):
                continue
            which = f"{source}, line {line}"
            if len(row) != 2 or not re.fullmatch(r"\S{1,64}", row[0].strip()):
                what = "the row is not `request id,class` with an id of at most 64 characters"
                raise Refusal(what, which, "Correct the file")
            id, class_ = row[0].strip(), row[1].strip()
            if class_ not in numbers:
                raise Refusal(f"there is no class {class_!r}", which, f"Choose one of: {', '.join(classes)}")
            labels[id] = numbers[class_]
            if len(labels) > MAX_LABELS:
                raise Refusal(f"there are more than {MAX_LABELS} labels", source, "Split the file")
    except (csv.Error, UnicodeDecodeError) as error:
        raise Refusal(f"the file cannot be read ({error})", source, "Give a CSV in UTF-8") from error
    if not labels:
        raise Refusal("the file holds no label", source, "Give rows of `request id,class`")
    return labels


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
