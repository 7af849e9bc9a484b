"""How much one process takes on at once: what is beyond is refused at once, what was accepted is answered soon.

Small requests are answered one after another on the event loop. Large ones take turns beside them, in a thread.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import anyio

from bentos.model import Unavailable

MAX_AT_ONCE = 64
"""Small requests that are answered in one iteration of the event loop; the last waits for those before it."""
MAX_HELD = 64 << 20
"""Bytes of bodies that are read or wait; it bounds the memory that callers can take."""
TIME_LIMIT = 30.0
"""Seconds until a large request is given up, its wait included, as at the gateway."""
T = TypeVar("T")


class Overloaded(Unavailable):
    """More was sent than this process can answer soon."""


class CallerGone(Exception):
    """The caller closed the connection before the answer."""


class Admission:
    """What one process has accepted. `name` is what serves, for people."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._at_once = 0
        self._held = 0
        self._one_at_a_time = asyncio.Lock()

    def admit(self) -> bool:
        """Counts a request in this iteration of the event loop; whether it is among those that are answered."""
        if not self._at_once:
            asyncio.get_running_loop().call_soon(self._next_iteration)
        self._at_once += 1
        return self._at_once <= MAX_AT_ONCE

    @property
    def too_many(self) -> Overloaded:
        """The refusal of the others."""
        return self._overloaded(f"more than {MAX_AT_ONCE} requests came at once")

    def _next_iteration(self) -> None:
        self._at_once = 0

    @contextmanager
    def holding(self) -> Iterator[Callable[[int], None]]:
        """Within it, `hold` is called with the bytes of a body that came. It raises Overloaded if too many are held."""
        own = 0

        def hold(size: int) -> None:
            nonlocal own
            if self._held + size > MAX_HELD:
                raise self._overloaded(f"requests of {self._held >> 20} MB wait")
            own += size
            self._held += size

        try:
            yield hold
        finally:
            self._held -= own

    async def take_turn(self, work: Callable[[], Awaitable[T]], gone: Callable[[], Awaitable[None]]) -> T:
        """The result of work on a large request, after those before it. `gone` returns when its caller is.

        Work that nobody waits for ends with the part that a thread has begun, and the next turn begins then. Raises
        CallerGone, and Overloaded after the time limit.
        """
        scope = anyio.CancelScope()  # unlike a task's own cancellation, it waits for a thread

        async def in_turn() -> T:
            with scope:
                async with self._one_at_a_time:
                    return await work()
            raise CallerGone

        answer, closed = asyncio.ensure_future(in_turn()), asyncio.ensure_future(gone())
        try:
            done, _ = await asyncio.wait((answer, closed), timeout=TIME_LIMIT, return_when=asyncio.FIRST_COMPLETED)
        finally:
            closed.cancel()
            if not answer.done():
                scope.cancel()
        await asyncio.wait((answer,))
        if answer in done:
            return answer.result()
        answer.exception()  # retrieved, so that asyncio does not log it
        if closed in done:
            raise CallerGone
        raise self._overloaded(f"the request was not answered in {TIME_LIMIT:.0f} s, since others were before it")

    def _overloaded(self, what: str) -> Overloaded:
        return Overloaded(what, self._name, "Send less at once, or try again in a few seconds")
