"""`make bench-pressure`: what happens above capacity, and beside large batches, to the service and to the gateway.

It needs a stack that runs, with a champion, and Debian's packages wrk and nghttp2-client. The capacity is what wrk
reaches with 16 connections. h2load then sends half of that a second, and twice as much, over as many connections as a
real crowd would open. Afterwards eight callers send large batches without a pause while one sends single inputs.
"""

import argparse
import sys
import threading
from collections.abc import Iterator

import httpx
import psutil

from benchmarks import load, page
from benchmarks.load import Measurement, Request
from benchmarks.serving import champion, requests

_CROWD, _ROWS = 512, 1000


def memory_mb(port: int) -> float:
    """Resident memory of the worker that listens at this port of this machine."""
    for process in psutil.process_iter():
        try:
            listening = [c.laddr.port for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
            if port in listening and "--worker-id" in process.cmdline():
                return process.memory_info().rss / 2**20
        except psutil.Error:
            continue
    return float("nan")


def overload(way: str, request: Request, port: int, seconds: float) -> Iterator[str]:
    before = memory_mb(port)
    capacity = load.steady(request, 16, seconds).rate
    half = load.at_rate(request, _CROWD, capacity / 2, seconds)
    twice = load.at_rate(request, _CROWD, capacity * 2, seconds)
    after = memory_mb(port)
    for name, turn in (("half", half), ("twice", twice)):
        yield f"| {way} | {name} the capacity of {capacity:,.0f} | {_cells(turn)} | {before:.0f} to {after:.0f} |"
    kept, slower = twice.rate / capacity, twice.p99 / half.p99
    errors = twice.failed - twice.refused
    yield (
        f"| {way} | of the capacity {kept:.2f} is kept (0.9 wanted), p99 {slower:.1f} times that at half (5 wanted), "
        f"{errors} neither answered nor refused | | | | | | |"
    )


def _cells(turn: Measurement) -> str:
    return f"{turn.rate:,.0f} | {turn.p50:.1f} | {turn.p99:.1f} | {turn.refused} | {turn.failed - turn.refused}"


def beside_large(way: str, small: Request, large: Request, port: int, seconds: float) -> Iterator[str]:
    alone, before = load.steady(small, 1, seconds), memory_mb(port)
    over, counts = threading.Event(), {200: 0}

    def send() -> None:
        with httpx.Client(timeout=60, trust_env=False) as client:
            while not over.is_set():
                try:
                    status = client.post(large.url, content=large.body, headers=dict(large.headers)).status_code
                except httpx.HTTPError:
                    status = 0  # it is shown
                counts[status] = counts.get(status, 0) + 1

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    try:
        beside = load.steady(small, 1, seconds)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    after, answers = memory_mb(port), ", ".join(f"{count} × {status}" for status, count in sorted(counts.items()))
    slower = beside.p99 / alone.p99
    yield (
        f"- {way}: eight callers with batches of {_ROWS} ({answers}); a small request's p99 is {beside.p99:.1f} ms, "
        f"{slower:.1f} times the usual {alone.p99:.1f} (10 wanted), {beside.failed} failed; "
        f"memory {before:.0f} to {after:.0f} MB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="fashion-mnist", help="one that has a champion")
    parser.add_argument("--seconds", type=float, default=10, help="of a load")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    options = parser.parse_args()
    golden, _, direct = champion(options.recipe)
    small, large = requests(golden, direct, 1), requests(golden, direct, _ROWS)
    content = [
        f"`{options.recipe}`, {page.machine()}, {_CROWD} connections, {options.seconds:g} s each:",
        "",
        "| way | load | answers a second | p50, ms | p99, ms | refused | failed | memory of the bento, MB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for way in ("bento, binary", "gateway, binary"):
        for line in overload(way, small[way], direct[1], options.seconds):
            print(line, file=sys.stderr, flush=True)
            content.append(line)
    content.append("")
    for way in ("bento, binary", "gateway, binary", "bento, JSON"):
        for line in beside_large(way, small[way], large[way], direct[1], options.seconds):
            print(line, file=sys.stderr, flush=True)
            content.append(line)
    print("\n".join(content))
    if options.write:
        page.write(f"bench-pressure {options.recipe}", content)


if __name__ == "__main__":
    main()
