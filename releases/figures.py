"""Reads what one bento did: its histogram of latencies, and its record of answers by request id. Thin.

Envoy counts whole milliseconds and throws mirrored answers away, so both come from the bento.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import httpx

from bentos.metrics import within
from ratchet.answers import Short
from ratchet.errors import Refusal
from ratchet.local_http import LOCAL
from ratchet.settings import url_of
from ratchet.words import Place


def total(parts: Iterable[Counter[float]]) -> tuple[tuple[float, int], ...]:
    """Several bentos' counts as one arm's, rising."""
    found: Counter[float] = Counter()
    for part in parts:
        found.update(part)
    return tuple(sorted(found.items()))


@dataclass(frozen=True)
class Answered:
    """One request that an arm answered: its id, its first answer in short, and that input where it is kept."""

    id: str
    answer: Short
    input: bytes


def _short(record: dict[str, Any]) -> Short:
    """An answer as the bento remembers it; one from before there were forecasts calls it a class."""
    answer = record["answer"] if "answer" in record else record["class"]
    return tuple(answer) if isinstance(answer, list) else int(answer)


class Reader:
    """One bento's figures since the reader began; a bento that was started anew begins at nothing."""

    def __init__(self, place: Place) -> None:
        self.url = url_of(*place)
        self._client = httpx.Client(base_url=self.url, timeout=1, **LOCAL)
        self._base: Counter[float] | None = None
        self._next: int | None = None
        self.within: Counter[float] = Counter()

    def look(self) -> list[Answered]:
        """Updates `within`; returns the answers since the last look, of the first one none.

        Raises Refusal when the bento does not tell.
        """
        now = within(self._get("/metrics").text)
        if self._base is None:
            self._base = now
        elif any(now[at] < n for at, n in self._base.items()):
            self._base = Counter()
        self.within = Counter({at: n - self._base[at] for at, n in now.items()})
        told = self._get("/ops/records", after=1 << 60 if self._next is None else self._next).json()
        self._next = int(told["next"])
        return [Answered(r["id"], _short(r), base64.b64decode(r["input"])) for r in told["records"]]

    def rebase(self) -> None:
        """Counts latencies from here on."""
        if self._base is not None:
            self._base = Counter({at: n + self._base[at] for at, n in self.within.items()})
            self.within = Counter()

    def close(self) -> None:
        self._client.close()

    def _get(self, path: str, **params: Any) -> httpx.Response:
        try:
            answer = self._client.get(path, params=params)
        except httpx.HTTPError as error:
            raise Refusal(f"its figures cannot be read ({type(error).__name__})", self.url, "See its log") from error
        if answer.status_code != 200:
            raise Refusal(f"its figures cannot be read ({answer.status_code})", self.url, "See its log")
        return answer
