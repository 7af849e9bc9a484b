"""`make bench-log`: what the prediction log costs a request, with and without it in one interleaved run.

It serves the champion's package of a recipe twice, by `bentoml serve`, and sends both the same requests in turns of a
few hundred: one caller alone, and eight at once. It prints the latencies of both, and the ratio of their 99th
percentiles with an interval, by a bootstrap over pairs of turns. It says whether that is within a tenth.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np

from bentos.golden import Golden, infer, read
from ratchet.endpoints import READY
from ratchet.errors import Refusal
from ratchet.fleet.package_cache import MODEL
from ratchet.settings import TELEMETRY_OFF, settings
from tests.conftest import free_ports

_HEAD = """| callers | log | requests | p50, ms | p99, ms | ratio of p99 (95 %) |
| --- | --- | --- | --- | --- | --- |"""


@contextmanager
def served(folder: Path, log: Path | None) -> Iterator[str]:
    """The URL of a bento that is served; without a folder it keeps no log."""
    (port,) = free_ports(1)
    scratch = Path(tempfile.mkdtemp(prefix="ratchet-bench-"))
    env = {**os.environ, **TELEMETRY_OFF, "BENTOML_HOME": str(scratch), "OMP_NUM_THREADS": "1",
           "RATCHET_LOG": str(log or ""), "RATCHET_LOG_MB": "4096"}  # fmt: skip
    command = [sys.executable, "-m", "bentoml", "serve", str(folder), "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(command, env=env, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 60
        while not _is_ready(url):
            if time.monotonic() > until:
                raise Refusal("the bento was not ready in a minute", folder, "Serve it by hand: `bentoml serve`")
            time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(40)
        shutil.rmtree(scratch, ignore_errors=True)


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}{READY}", timeout=1, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def turn(url: str, golden: Golden, callers: int, requests: int) -> list[float]:
    """The seconds of each request of one turn."""
    seconds: list[float] = []

    def call() -> None:
        with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
            for number in range(requests // callers):
                client.headers["x-request-id"] = f"{threading.get_ident()}-{number}"
                at = number % len(golden.inputs)
                start = time.perf_counter()
                infer(client, golden, golden.inputs[at : at + 1])
                seconds.append(time.perf_counter() - start)

    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seconds


def _rows(callers: int, without: Sequence[list[float]], with_log: Sequence[list[float]]) -> Iterator[str]:
    def ratio_of(turns: np.ndarray) -> float:
        off, on = (np.concatenate([side[turn] for turn in turns]) for side in (without, with_log))
        return float(np.quantile(on, 0.99) / np.quantile(off, 0.99))

    rng, count = np.random.default_rng(0), len(without)
    low, high = np.quantile([ratio_of(rng.integers(count, size=count)) for _ in range(1000)], [0.025, 0.975])
    conclusion = "within a tenth" if high <= 1.1 else "above a tenth" if low > 1.1 else "too uncertain to say"
    ratio = f"{ratio_of(np.arange(count)):.2f} ({low:.2f} to {high:.2f}), {conclusion}"
    for name, turns in (("off", without), ("on", with_log)):
        latencies = 1000 * np.concatenate(turns)
        p50, p99 = np.quantile(latencies, [0.5, 0.99])
        shown = ratio if name == "on" else ""
        yield f"| {callers} | {name} | {len(latencies)} | {p50:.2f} | {p99:.2f} | {shown} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="fashion-mnist", help="one that has a champion")
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--requests", type=int, default=400, help="in a turn")
    options = parser.parse_args()
    folder = (settings().home / "bentos" / options.recipe / "current").resolve()
    golden = read(folder / MODEL)
    with (
        tempfile.TemporaryDirectory() as log,
        served(folder, None) as without,
        served(folder, Path(log) / "log") as with_log,
    ):
        print(_HEAD, flush=True)
        for callers in (1, 8):
            turns: dict[str, list[list[float]]] = {without: [], with_log: []}
            for number in range(options.turns + 1):
                for url in (without, with_log) if number % 2 else (with_log, without):
                    latencies = turn(url, golden, callers, options.requests)
                    if number:  # the first turn warms both
                        turns[url].append(latencies)
            for row in _rows(callers, turns[without], turns[with_log]):
                print(row, flush=True)


if __name__ == "__main__":
    main()
