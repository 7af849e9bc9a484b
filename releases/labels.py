"""The right answers that come back later: read from a file, and held against what both arms answered."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ratchet.errors import Refusal

MOST = 100_000
"""Rows of one file."""
_REMEMBERED = 8192


def read(lines: Iterable[str], classes: Sequence[str], source: Path | str) -> dict[str, int]:
    """Rows of `request id,class` as number of the class by id; a first row `request,label` is a heading.

    Raises Refusal naming the first row that is not such a one; then none counts.
    """
    found: dict[str, int] = {}
    number = {name: i for i, name in enumerate(classes)}
    try:
        for line, row in enumerate(csv.reader(lines), 1):
            if not row or (line == 1 and row == ["request", "label"]):
                continue
            if len(row) != 2 or not re.fullmatch(r"\S{1,64}", row[0].strip()):
                raise Refusal(
                    "the row is not `request id,class`, with an id of at most 64 characters",
                    f"{source}, line {line}",
                    "Mend the file",
                )
            if row[1].strip() not in number:
                raise Refusal(f"there is no class {row[1].strip()!r}", f"{source}, line {line}",
                              f"Classes are: {', '.join(classes)}")  # fmt: skip
            found[row[0].strip()] = number[row[1].strip()]
            if len(found) > MOST:
                raise Refusal(f"there are more than {MOST} labels", source, "Split the file")
    except (csv.Error, UnicodeDecodeError) as error:
        raise Refusal(f"the file cannot be read ({error})", source, "Give a CSV in UTF-8") from error
    if not found:
        raise Refusal("there is no label in it", source, "Give rows of `request id,class`")
    return found


class Labelled:
    """Of champion and challenger: answers whose label came back, and those that were wrong. Each counts once."""

    def __init__(self) -> None:
        self.of, self.wrong = [0, 0], [0, 0]
        self._given: tuple[dict[str, int], dict[str, int]] = ({}, {})
        self._labels: dict[str, int] = {}
        self._counted: tuple[dict[str, int], dict[str, int]] = ({}, {})

    def answered(self, side: int, request: str, answer: int) -> None:
        if request in self._labels:
            self._count(side, request, answer)
        else:
            _remember(self._given[side], request, answer)

    def came(self, labels: Mapping[str, int]) -> None:
        for request in labels.keys() - self._labels.keys():
            _remember(self._labels, request, labels[request])
            for side in (0, 1):
                answer = self._given[side].pop(request, None)
                if answer is not None:
                    self._count(side, request, answer)

    def _count(self, side: int, request: str, answer: int) -> None:
        if request not in self._counted[side]:  # a caller may send one id many times, and that tells nothing new
            _remember(self._counted[side], request, answer)
            self.of[side] += 1
            self.wrong[side] += answer != self._labels[request]


def _remember(kept: dict[str, Any], key: str, value: Any) -> None:
    kept[key] = value
    if len(kept) > _REMEMBERED:
        kept.pop(next(iter(kept)))
