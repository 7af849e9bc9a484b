"""What one process takes on at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import anyio.to_thread
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bentos import admission
from bentos.admission import MAX_AT_ONCE, MAX_HELD, Admission, CallerGone, Overloaded
from ratchet.errors import Refusal


async def never() -> None:
    """A caller who stays."""
    await asyncio.Event().wait()


def test_beyond_a_bound_small_requests_at_once_are_refused_and_the_next_moment_begins_anew() -> None:
    async def play() -> None:
        subject = Admission("r:v1")
        for _ in range(3):
            for _ in range(MAX_AT_ONCE):
                assert subject.admit()
            assert not subject.admit()
            assert f"more than {MAX_AT_ONCE} requests came at once" in str(subject.too_many)
            await asyncio.sleep(0)

    asyncio.run(play())


@given(st.lists(st.lists(st.integers(1, MAX_HELD), max_size=6), max_size=6))
def test_the_bytes_that_are_held_never_exceed_the_bound_and_are_given_back(bodies: list[list[int]]) -> None:
    subject = Admission("r:v1")
    held = 0

    def read(rest: list[list[int]]) -> None:
        nonlocal held
        if not rest:
            return
        own = 0
        with subject.holding() as hold:
            for size in rest[0]:
                try:
                    hold(size)
                except Overloaded:
                    assert held + size > MAX_HELD
                else:
                    held += size
                    own += size
                    assert held <= MAX_HELD
            read(rest[1:])
        held -= own

    read(bodies)
    with subject.holding() as hold:
        hold(MAX_HELD)


def test_large_requests_are_answered_one_at_a_time_in_their_order() -> None:
    events = list[str]()

    def work(name: str) -> Callable[[], Awaitable[str]]:
        async def answer() -> str:
            events.append(f"{name} begins")
            await asyncio.sleep(0.01)
            events.append(f"{name} ends")
            return name

        return answer

    async def play() -> list[str]:
        subject = Admission("r:v1")
        return await asyncio.gather(*(subject.take_turn(work(name), never) for name in "abc"))

    assert asyncio.run(play()) == ["a", "b", "c"]
    assert events == [f"{name} {what}" for name in "abc" for what in ("begins", "ends")]


def test_a_request_that_is_refused_in_its_turn_lets_the_next_one_go_on() -> None:
    async def refuse() -> None:
        raise Refusal("it is wrong", "a", "Correct it")

    async def answer() -> int:
        return 1

    async def play() -> int:
        subject = Admission("r:v1")
        with pytest.raises(Refusal, match="it is wrong"):
            await subject.take_turn(refuse, never)
        return await subject.take_turn(answer, never)

    assert asyncio.run(play()) == 1


@pytest.mark.parametrize("begun", [True, False])
def test_work_that_nobody_waits_for_is_not_done(begun: bool) -> None:
    finished = list[str]()

    async def play() -> None:
        subject, left = Admission("r:v1"), asyncio.Event()

        async def work(name: str, seconds: float) -> None:
            await asyncio.sleep(seconds)
            finished.append(name)

        first = asyncio.ensure_future(subject.take_turn(lambda: work("first", 0.05), never))
        await asyncio.sleep(0.01)
        if begun:
            await first
        gone = asyncio.ensure_future(subject.take_turn(lambda: work("gone", 0.05), lambda: wait(left)))
        last = asyncio.ensure_future(subject.take_turn(lambda: work("last", 0), never))
        await asyncio.sleep(0.01)
        left.set()
        with pytest.raises(CallerGone):
            await gone
        await asyncio.gather(first, last)

    async def wait(left: asyncio.Event) -> None:
        await left.wait()

    asyncio.run(play())
    assert finished == ["first", "last"]


def test_the_next_turn_begins_when_the_thread_of_the_one_before_has_ended() -> None:
    """A thread cannot be stopped: without that, callers who leave would start as many as they like."""
    running, most = 0, 0

    def on_a_thread() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.02)
        running -= 1

    async def work() -> None:
        for _ in range(3):
            await anyio.to_thread.run_sync(on_a_thread)

    async def leaves() -> None:
        await asyncio.sleep(0.01)

    async def play() -> None:
        subject = Admission("r:v1")
        turns = [subject.take_turn(work, never if number % 4 == 3 else leaves) for number in range(12)]
        results = await asyncio.gather(*turns, return_exceptions=True)
        assert [isinstance(result, CallerGone) for result in results] == [number % 4 != 3 for number in range(12)]

    asyncio.run(play())
    assert (most, running) == (1, 0)


def test_a_large_request_that_waits_too_long_is_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "TIME_LIMIT", 0.05)

    async def play() -> None:
        subject = Admission("r:v1")
        first = asyncio.ensure_future(subject.take_turn(never, never))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="was not answered in 0 s"):
            await subject.take_turn(never, never)
        with pytest.raises(Overloaded):
            await first

    asyncio.run(play())
