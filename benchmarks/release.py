"""`make bench-release`: canaries, blue-green releases and rollbacks on three hosts under steady load.

Measures what the gateway carries, offers half of it, and prints every failed request and every answer
of a version that the ledger did not name at that moment.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from ratchet.words import version_of
from releases import record
from tests.stack import NAME, Running, running, until

BODY = {"images": [[[0] * 28] * 28]}
GRACE = 1.0
"""Seconds that an answer may be under way, or a tick late."""


@dataclass
class Load:
    codes: Counter[int] = field(default_factory=Counter)
    answers: list[tuple[float, float, str]] = field(default_factory=list)
    """Begun, ended, and the version that answered."""
    stop: threading.Event = field(default_factory=threading.Event)


async def _ask(client: httpx.AsyncClient, url: str, seen: Load) -> None:
    began = time.time()
    try:
        answer = await client.post(url, json=BODY)
        seen.codes[answer.status_code] += 1
        seen.answers.append((began, time.time(), answer.headers.get("x-model-version", "?")))
    except httpx.HTTPError as error:
        seen.codes[0] += 1
        print(f"failed: {error!r}")


async def _steady(url: str, rate: float, seen: Load) -> None:
    async with httpx.AsyncClient(timeout=30, limits=httpx.Limits(max_connections=128)) as client:
        tasks: set[asyncio.Task[None]] = set()
        due = time.monotonic()
        while not seen.stop.is_set():
            task = asyncio.create_task(_ask(client, url, seen))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            due += 1 / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        await asyncio.gather(*tasks)


@contextmanager
def load(url: str, rate: float) -> Iterator[Load]:
    seen = Load()
    thread = threading.Thread(target=lambda: asyncio.run(_steady(url, rate, seen)))
    thread.start()
    try:
        yield seen
    finally:
        seen.stop.set()
        thread.join()


def capacity(url: str, callers: int = 16, seconds: float = 8) -> float:
    """Answers a second with so many callers, each waiting for its answer."""

    async def caller(client: httpx.AsyncClient, until: float) -> int:
        count = 0
        while time.monotonic() < until:
            (await client.post(url, json=BODY)).raise_for_status()
            count += 1
        return count

    async def all_of_them() -> int:
        async with httpx.AsyncClient(timeout=30) as client:
            end = time.monotonic() + seconds
            return sum(await asyncio.gather(*(caller(client, end) for _ in range(callers))))

    return asyncio.run(all_of_them()) / seconds


def strangers(seen: Load, stack: Running) -> list[str]:
    """Answers of a version that had no share, by the ledger, while they were under way."""
    shares = record.shares(stack.book.read(NAME))
    versions = [{version_of(arm) for arm in s.split.weights} for s in shares]
    ends = [s.at for s in shares[1:]] + [float("inf")]
    found = []
    for began, ended, version in seen.answers:
        named = {
            v for s, end, names in zip(shares, ends, versions, strict=True)
            if s.at <= ended + GRACE and end >= began - GRACE for v in names
        }  # fmt: skip
        if version not in named:
            found.append(f"version {version} at {ended:.2f}, when the ledger named {sorted(named)}")
    return found


def idle(stack: Running) -> bool:
    return stack.state().phase == "idle" and len(stack.serving()) == 3 == len(stack.running())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--releases", type=int, default=10, help="of each strategy")
    many = parser.parse_args().releases
    with tempfile.TemporaryDirectory() as folder, running(Path(folder) / "home") as stack:
        stack.ratchet("loop", NAME)
        for host in ("gpu-2", "gpu-3"):
            stack.ratchet("host", "start", "--name", host)
        stack.ratchet("ingest", NAME, "--next")
        stack.ratchet("loop", NAME)
        stack.ratchet("rollback", NAME)
        until(lambda: idle(stack), 120)
        url = f"{stack.gateway}/{NAME}/predict"
        most = capacity(url)
        print(f"the gateway carries {most:.0f} answers a second over 3 hosts; offered: {most / 2:.0f}")
        with load(url, most / 2) as seen:
            for strategy in ("canary", "blue_green"):
                for number in range(1, many + 1):
                    started = time.monotonic()
                    stack.ratchet("release", NAME, "2", "--strategy", strategy)
                    released = time.monotonic() - started
                    until(lambda: idle(stack), 180)
                    started = time.monotonic()
                    stack.ratchet("rollback", NAME)
                    back = time.monotonic() - started
                    until(lambda: idle(stack), 180)
                    failed = sum(n for code, n in seen.codes.items() if code != 200)
                    print(f"{strategy} {number}: champion after {released:.0f} s, rolled back in {back:.0f} s; "
                          f"{sum(seen.codes.values())} requests so far, {failed} failed", flush=True)  # fmt: skip
        odd = strangers(seen, stack)
    took = sorted(ended - began for began, ended, _ in seen.answers)
    failed = sum(n for code, n in seen.codes.items() if code != 200)
    print(f"{sum(seen.codes.values())} requests: {dict(seen.codes)}, by version "
          f"{dict(Counter(v for _, _, v in seen.answers))}; p50 {1000 * took[len(took) // 2]:.0f} ms, "
          f"p99 {1000 * took[int(len(took) * 0.99)]:.0f} ms")  # fmt: skip
    print(f"{failed} failed; {len(odd)} answers of a version that the ledger did not name")
    print("\n".join(odd[:10]))
    return 1 if failed or odd else 0


if __name__ == "__main__":
    raise SystemExit(main())
