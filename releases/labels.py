"""Labels that come back while a version is on trial, compared with both revisions' predictions."""

from collections.abc import Mapping
from typing import Any

MAX_KEPT = 8192


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
    if len(kept) > MAX_KEPT:
        kept.pop(next(iter(kept)))
