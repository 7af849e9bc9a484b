"""Reads the logs of a host's bentos over HTTP, from any one of them that serves the recipe. Thin."""

from collections.abc import Iterable
from dataclasses import dataclass

import httpx

from bentos.segments import NAME, Writer
from ratchet.endpoints import LOG
from ratchet.errors import Refusal
from ratchet.local_http import LOCAL
from ratchet.settings import url_of
from ratchet.types import HostPort


@dataclass(frozen=True)
class Listed:
    """A complete segment on a host."""

    name: str
    kind: str
    """`predictions` or `feedback`."""
    process: str
    number: int


@dataclass(frozen=True)
class Listing:
    segments: tuple[Listed, ...]
    writers: tuple[Writer, ...]


class LogReader:
    def __init__(self, at: HostPort) -> None:
        self.url = url_of(*at)
        self._client = httpx.Client(base_url=self.url, timeout=20, **LOCAL)

    def listing(self) -> Listing:
        """Every complete segment of the recipe on that host, after this bento has completed its own.

        Raises Refusal if it does not answer, as the other methods do, or is of an earlier Ratchet, which kept no log.
        """
        response = self._request("GET", LOG, missing=True, complete="1")
        if response.status_code == 404:
            raise Refusal("the bento is too old to keep a log of predictions", self.url, "Release a new version")
        content = response.json()
        segments = tuple(_listed(content["segments"]))
        return Listing(segments, tuple(Writer(**writer) for writer in content["writers"]))

    def read(self, segment: Listed) -> bytes:
        return self._request("GET", f"{LOG}/{segment.name}").content

    def remove(self, name: str) -> None:
        """Removes a segment that has landed, or the counts of a process that ended; nothing if it is gone."""
        self._request("DELETE", f"{LOG}/{name}", missing=True)

    def close(self) -> None:
        self._client.close()

    def _request(self, method: str, path: str, missing: bool = False, **params: str) -> httpx.Response:
        try:
            response = self._client.request(method, path, params=params)
        except httpx.HTTPError as error:
            raise self._unreadable(type(error).__name__) from error
        if response.status_code != 200 and not (missing and response.status_code == 404):
            raise self._unreadable(str(response.status_code))
        return response

    def _unreadable(self, why: str) -> Refusal:
        return Refusal(f"the prediction log cannot be read ({why})", self.url, "See `ratchet logs`")


def _listed(names: Iterable[str]) -> Iterable[Listed]:
    for name in names:
        if match := NAME.fullmatch(name):
            yield Listed(name, match[1], match[2], int(match[3]))
