"""`make bench-release`: canaries, blue-green releases and rollbacks on three hosts under steady load.

Measures the gateway's capacity, offers half of it, and prints every failed request and every response of a version
that the ledger did not name at that moment.
"""

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

from ratchet.types import version_of
from releases import history
from tests.stack import NAME, Running, running, until

BODY = {"images": [[[0] * 28] * 28]}
GRACE = 1.0
"""Tolerance in seconds for a response in flight, or a late tick."""


@dataclass
class Load:
    codes: Counter[int] = field(default_factory=Counter)
    responses: list[tuple[float, float, str]] = field(default_factory=list)
    """Start, end, and the version that answered."""
    stop: threading.Event = field(default_factory=threading.Event)


async def _request(client: httpx.AsyncClient, url: str, seen: Load) -> None:
    start = time.time()
    try:
        response = await client.post(url, json=BODY)
        seen.codes[response.status_code] += 1
        seen.responses.append((start, time.time(), response.headers.get("x-model-version", "?")))
    except httpx.HTTPError as error:
        seen.codes[0] += 1
        print(f"failed: {error!r}")


async def _steady(url: str, rate: float, seen: Load) -> None:
    async with httpx.AsyncClient(timeout=30, limits=httpx.Limits(max_connections=128)) as client:
        tasks: set[asyncio.Task[None]] = set()
        due = time.monotonic()
        while not seen.stop.is_set():
            task = asyncio.create_task(_request(client, url, seen))
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
    """Responses per second with so many callers, each of which waits for its response."""

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


def unexpected(seen: Load, stack: Running) -> list[str]:
    """Responses of a version that had no share of the traffic, by the ledger, while they were in flight."""
    shares = history.shares(stack.ledger.read(NAME))
    versions = [{version_of(revision) for revision in s.split.weights} for s in shares]
    ends = [s.at for s in shares[1:]] + [float("inf")]
    lines = []
    for start, ended, version in seen.responses:
        named: set[str] = set()
        for share, end, names in zip(shares, ends, versions, strict=True):
            if share.at <= ended + GRACE and end >= start - GRACE:
                named |= names
        if version not in named:
            lines.append(f"version {version} at {ended:.2f}, when the ledger named {sorted(named)}")
    return lines


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
        print(f"capacity of the gateway over 3 hosts: {most:.0f} requests/s; offered: {most / 2:.0f}", flush=True)
        with load(url, most / 2) as seen:
            for strategy in ("canary", "blue_green"):
                for number in range(1, many + 1):
                    started = time.monotonic()
                    stack.ratchet("release", NAME, "2", "--strategy", strategy)
                    released = time.monotonic() - started
                    until(lambda: idle(stack), 180)
                    started = time.monotonic()
                    stack.ratchet("rollback", NAME)
                    rolled_back = time.monotonic() - started
                    until(lambda: idle(stack), 180)
                    failed = sum(n for code, n in seen.codes.items() if code != 200)
                    print(f"{strategy} {number}: champion after {released:.0f} s, rolled back in {rolled_back:.0f} s; "
                          f"{sum(seen.codes.values())} requests so far, {failed} failed", flush=True)  # fmt: skip
        wrong = unexpected(seen, stack)
    latencies = sorted(ended - start for start, ended, _ in seen.responses)
    failed = sum(n for code, n in seen.codes.items() if code != 200)
    print(f"{sum(seen.codes.values())} requests: {dict(seen.codes)}, by version "
          f"{dict(Counter(v for _, _, v in seen.responses))}; p50 {1000 * latencies[len(latencies) // 2]:.0f} ms, "
          f"p99 {1000 * latencies[int(len(latencies) * 0.99)]:.0f} ms")  # fmt: skip
    print(f"{failed} failed; {len(wrong)} responses of a version that the ledger did not name")
    print("\n".join(wrong[:10]))
    return 1 if failed or wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
