"""`make bench-callers`: what forty slow callers cost the others, at the gateway of the stack that runs.

Four kinds of sockets are held open: headers alone, half a body, a byte a second, and chunks without an end. Another
caller sends good requests, alternately with and without them.
"""

import argparse
import contextlib
import time
from collections import Counter

import httpx
import numpy as np

from ratchet import recipe as recipes
from ratchet.endpoints import PREDICT
from ratchet.settings import settings
from tests.test_callers import slow_callers

_HEAD = """| slow callers | good requests | answers | p50, ms | p99, ms | longest, ms |
| --- | --- | --- | --- | --- | --- |"""


def measure(name: str, seconds: float) -> tuple[list[float], Counter[int]]:
    """Good requests, one after another, for so long: their latencies in ms, and the answers by status."""
    contract = recipes.load(name).contract
    body = {contract.json_key: contract.values(contract.example())}
    latencies, codes, stop = list[float](), Counter[int](), time.monotonic() + seconds
    with httpx.Client(timeout=60, trust_env=False) as client:
        while time.monotonic() < stop:
            start = time.monotonic()
            codes[client.post(f"{settings().gateway_url}/{name}{PREDICT}", json=body).status_code] += 1
            latencies.append(1000 * (time.monotonic() - start))
            time.sleep(0.02)
    return latencies, codes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="fashion-mnist", help="one that serves")
    parser.add_argument("--seconds", type=float, default=60, help="with slow callers, and as many without")
    parser.add_argument("--turns", type=int, default=6, help="into which both are divided")
    options = parser.parse_args()
    latencies: dict[int, list[float]] = {0: [], 40: []}
    codes: dict[int, Counter[int]] = {0: Counter(), 40: Counter()}
    for _ in range(options.turns):
        for number in latencies:
            held = slow_callers(settings().gateway_port, number, f"/{options.recipe}{PREDICT}")
            with held if number else contextlib.nullcontext():
                of_turn, codes_of_turn = measure(options.recipe, options.seconds / options.turns)
            latencies[number] += of_turn
            codes[number] += codes_of_turn
    print(_HEAD)
    for number, each in latencies.items():
        p50, p99, longest = np.quantile(each, [0.5, 0.99, 1])
        answers = ", ".join(f"{count} × {code}" for code, count in sorted(codes[number].items()))
        print(f"| {number} | {len(each)} | {answers} | {p50:.1f} | {p99:.1f} | {longest:.1f} |")


if __name__ == "__main__":
    main()
