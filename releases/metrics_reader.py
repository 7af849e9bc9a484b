"""Reads one bento's metrics: its latency histogram, and its recent answers by request id. Thin.

Envoy counts whole milliseconds and discards mirrored responses, so both come from the bento.
"""

import base64
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import httpx

from bentos.metrics import cumulative
from ratchet.answers import Compact
from ratchet.endpoints import METRICS, RECENT
from ratchet.errors import Refusal
from ratchet.local_http import LOCAL
from ratchet.settings import url_of
from ratchet.types import HostPort

_MAX_PAGES = 16
"""Of recent answers: twice as many as a bento keeps."""


def total(counts: Iterable[Counter[float]]) -> tuple[tuple[float, int], ...]:
    """The sum of several bentos' counts, rising."""
    added: Counter[float] = Counter()
    for count in counts:
        added.update(count)
    return tuple(sorted(added.items()))


@dataclass(frozen=True)
class Answered:
    """One request that a revision answered: its id, its first answer, and the first input if that is kept."""

    id: str
    answer: Compact
    input: bytes


class MetricsReader:
    """One bento's metrics since the reader was created; a bento that restarted counts from zero."""

    def __init__(self, at: HostPort) -> None:
        self.url = url_of(*at)
        self._client = httpx.Client(base_url=self.url, timeout=1, **LOCAL)
        self._base: Counter[float] | None = None
        self._next: int | None = None
        self.cumulative: Counter[float] = Counter()

    def read(self) -> list[Answered]:
        """Updates `cumulative`; returns the answers since the last call, and none in the first call.

        Raises Refusal if the bento does not respond.
        """
        now = cumulative(self._get(METRICS).text)
        if self._base is None:
            self._base = now
        elif any(now[at] < count for at, count in self._base.items()):
            self._base = Counter()
        self.cumulative = Counter({at: count - self._base[at] for at, count in now.items()})
        recent = self._get(RECENT, after=1 << 60 if self._next is None else self._next).json()
        self._next = int(recent["next"])
        return [Answered(each["id"], _compact(each), base64.b64decode(each["input"])) for each in recent["answers"]]

    def recent_requests(self) -> set[str]:
        """The ids of the requests that the bento answered lately. Raises Refusal if it does not respond."""
        ids: set[str] = set()
        after = 0
        for _ in range(_MAX_PAGES):  # bounded, since it may answer faster than it is read
            recent = self._get(RECENT, after=after).json()
            ids |= {answer["id"].rpartition(" ")[0] for answer in recent["answers"]}
            after = int(recent["next"])
            if not recent["answers"]:
                break
        return ids

    def reset(self) -> None:
        """Counts latencies from here on."""
        if self._base is not None:
            self._base = Counter({at: count + self._base[at] for at, count in self.cumulative.items()})
            self.cumulative = Counter()

    def close(self) -> None:
        self._client.close()

    def _get(self, path: str, **params: Any) -> httpx.Response:
        try:
            response = self._client.get(path, params=params)
        except httpx.HTTPError as error:
            raise _unreadable(type(error).__name__, self.url) from error
        if response.status_code != 200:
            raise _unreadable(str(response.status_code), self.url)
        return response


def _unreadable(why: str, url: str) -> Refusal:
    return Refusal(f"the bento's metrics cannot be read ({why})", url, "See `ratchet logs`")


def _compact(recent: dict[str, Any]) -> Compact:
    answer = recent["answer"]
    return tuple(answer) if isinstance(answer, list) else int(answer)
