"""`make bench-serving`: one input a request, beside other ways to serve the same model, in turns in one run.

It needs a stack that runs, with a champion, and Debian's package wrk. Each peer is started by this command, on one
process as a bento is, and sent the same load by wrk in turns: one connection, eight, and thirty-two. Figures are the
medians of the turns, with the least and the most; a ratio is that of two neighbours in one turn.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import numpy as np
import psutil

from benchmarks import load, page
from benchmarks.load import Measurement, Request
from bentos.golden import Golden, read
from ratchet.endpoints import INFER, PREDICT, model
from ratchet.errors import Refusal
from ratchet.fleet.gateway import Gateway
from ratchet.fleet.package_cache import MODEL
from ratchet.session import read_vocabulary
from ratchet.settings import ROOT, TELEMETRY_OFF, settings
from ratchet.types import HostPort
from tests.conftest import free_ports

CONNECTIONS = (1, 8, 32)
_BARE = "bare uvicorn, binary"
_TARGETS = {"bento, binary": {_BARE: 0.75, "plain BentoML, JSON": 6.0}, "gateway, binary": {"bento, binary": 0.85}}
"""Of the throughput, in one turn; docs/benchmarks.md says what is reached."""


def requests(golden: Golden, direct: HostPort, rows: int) -> dict[str, Request]:
    """Ways to send one request of so many rows to the bento itself and by the gateway."""
    inputs = np.concatenate([golden.inputs] * (rows // len(golden.inputs) + 1))[:rows]
    bento, gateway = f"http://{direct[0]}:{direct[1]}", settings().gateway_url
    tensors = golden.contract.to_tensors(inputs)
    described = [{"name": each.name, "datatype": each.datatype, "shape": list(each.shape),
                  "parameters": {"binary_data_size": len(each.raw or b"")}} for each in tensors]  # fmt: skip
    head = json.dumps({"inputs": described, "parameters": {"binary_data_output": True}}).encode()
    binary = head + b"".join(each.raw or b"" for each in tensors)
    length = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
    values = json.dumps({golden.contract.json_key: golden.contract.values(inputs)}).encode()
    path = f"{model(golden.recipe)}{INFER}"
    return {
        "bento, binary": Request(f"{bento}{path}", binary, length),
        "gateway, binary": Request(f"{gateway}{path}", binary, length),
        "bento, JSON": Request(f"{bento}{PREDICT}", values, _JSON),
        "gateway, JSON": Request(f"{gateway}/{golden.recipe}{PREDICT}", values, _JSON),
    }


_JSON = {"Content-Type": "application/json"}


@contextmanager
def peer(command: Sequence[str], file: Path, request: Request) -> Iterator[Request]:
    """A server of the model in this file, once it answers the request with 200. Raises Refusal if it never does."""
    env = {**os.environ, **TELEMETRY_OFF, "MODEL": str(file), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=env, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 90
        while not _answers(request):
            if time.monotonic() > until or process.poll() is not None:
                raise Refusal("the peer does not answer", " ".join(command), "Start it by hand, and read its log")
            time.sleep(0.3)
        yield request
    finally:
        children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.terminate()
        process.wait(30)
        psutil.wait_procs(children, 10)


def _answers(request: Request) -> bool:
    try:
        response = httpx.post(request.url, content=request.body, headers=dict(request.headers), timeout=20)
        return response.status_code == 200
    except httpx.HTTPError:
        return False


def _peers(features: np.ndarray, onnx: Path, keras: Path | None) -> dict[str, tuple[list[str], Path, Request]]:
    """The command, the model and the request of each."""
    ports = free_ports(4)
    python, listed = sys.executable, json.dumps(features.tolist()).encode()
    uvicorn = [python, "-m", "uvicorn", "--log-level", "warning", "--no-access-log", "--port"]
    bare = f"http://127.0.0.1:{ports[0]}/"
    bare_command = [*uvicorn, str(ports[0]), "benchmarks.peers.bare:app"]
    peers = {
        _BARE: (bare_command, onnx, Request(bare, features.tobytes(), {})),
        "bare uvicorn, JSON": ([*uvicorn, str(ports[1]), "benchmarks.peers.bare:app"], onnx,
                               Request(f"http://127.0.0.1:{ports[1]}/", listed, _JSON)),
        "plain BentoML, JSON": ([python, "-m", "bentoml", "serve", "benchmarks.peers.plain_bentoml:Plain",
                                 "--port", str(ports[2])], onnx,
                                Request(f"http://127.0.0.1:{ports[2]}/predict", b'{"features": %b}' % listed, _JSON)),
    }  # fmt: skip
    if keras:
        peers["FastAPI, model.predict, JSON"] = (
            [*uvicorn, str(ports[3]), "benchmarks.peers.fastapi_keras:app"], keras,
            Request(f"http://127.0.0.1:{ports[3]}/predict", b'{"features": %b}' % listed, _JSON),
        )  # fmt: skip
    return peers


def measured(ways: Mapping[str, Request], seconds: float, turns: int) -> dict[str, dict[int, list[Measurement]]]:
    """The turns of each way, by connections. Neighbours in time are compared, so that what else runs matters less."""
    results: dict[str, dict[int, list[Measurement]]] = {way: {c: [] for c in CONNECTIONS} for way in ways}
    for request in ways.values():
        load.steady(request, 4, 1)  # warm
    for number in range(turns):
        for connections in CONNECTIONS:
            for way in ways if number % 2 else reversed(ways):
                results[way][connections].append(load.steady(ways[way], connections, seconds))
        print(f"turn {number + 1} of {turns} is over", file=sys.stderr, flush=True)
    return results


def lines(results: Mapping[str, Mapping[int, Sequence[Measurement]]]) -> Iterator[str]:
    yield "| way | requests a second at 1, 8, 32 | of bare uvicorn's | p50, p99 at 1, ms | longest at 1, ms | failed |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for way, by_connections in results.items():
        rates = ", ".join(_spread([turn.rate for turn in by_connections[c]], "{:,.0f}") for c in CONNECTIONS)
        bare = "bare uvicorn, JSON" if way.endswith("JSON") else _BARE
        of_bare = ", ".join(f"{_ratio(results, way, bare, c):.2f}" for c in CONNECTIONS)
        alone = by_connections[1]
        p50, p99, most = (np.median([getattr(turn, name) for turn in alone]) for name in ("p50", "p99", "most"))
        failed = sum(turn.failed for turns in by_connections.values() for turn in turns)
        yield f"| {way} | {rates} | {of_bare} | {p50:.2f}, {p99:.2f} | {most:.1f} | {failed} |"
    yield ""
    for way, targets in _TARGETS.items():
        for other, least in targets.items():
            if way in results and other in results:
                ratios = [_ratio(results, way, other, c) for c in CONNECTIONS]
                reached = ", ".join(f"{ratio:.2f}{'' if ratio >= least else ' (short)'}" for ratio in ratios)
                yield f"- {way} over {other}: {reached}; at least {least:g} was wanted"


def _spread(values: Sequence[float], pattern: str) -> str:
    least, median, most = (pattern.format(value) for value in (min(values), np.median(values), max(values)))
    return f"{median} ({least} to {most})"


def _ratio(results: Mapping[str, Mapping[int, Sequence[Measurement]]], way: str, other: str, connections: int) -> float:
    pairs = zip(results[way][connections], results[other][connections], strict=True)
    return float(np.median([one.rate / another.rate for one, another in pairs]))


def champion(recipe: str) -> tuple[Golden, Path, HostPort]:
    """What serves: its golden set, the folder of its model, and its address. Raises Refusal if nothing does."""
    splits, addresses = Gateway(settings()).declared()
    endpoints = (
        [at for revision, weight in splits[recipe].weights.items() if weight for at in addresses[recipe][revision]]
        if recipe in splits
        else []
    )
    if not endpoints:
        raise Refusal("nothing serves it", recipe, f"Run `ratchet up` and `ratchet loop {recipe}`")
    folder = (settings().home / "bentos" / recipe / "current").resolve() / MODEL
    return read(folder), folder, endpoints[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="fashion-mnist", help="one that has a champion")
    parser.add_argument("--seconds", type=float, default=5, help="of a load")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--rows", type=int, default=1, help="in a request")
    parser.add_argument("--keras", type=Path, help="the Keras file of the model, for FastAPI with `model.predict`")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    options = parser.parse_args()
    golden, folder, direct = champion(options.recipe)
    onnx = folder / "model.onnx"
    features = golden.contract.features(golden.inputs[: options.rows], read_vocabulary(onnx))
    with ExitStack() as stack:
        ways = requests(golden, direct, options.rows)
        for name, of_peer in _peers(features, onnx, options.keras).items():
            ways[name] = stack.enter_context(peer(*of_peer))
        results = measured(ways, options.seconds, options.turns)
    content = [
        f"`{options.recipe}`, {page.machine()}, {options.turns} turns of {options.seconds:g} s:",
        "",
        *lines(results),
    ]
    print("\n".join(content))
    if options.write:
        page.write(f"bench-serving {options.recipe}", content)


if __name__ == "__main__":
    main()
