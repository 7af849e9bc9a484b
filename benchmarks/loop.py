"""`make bench-loop`: a whole run of the loop beside a plain script, a run without anything new, and a stack at rest.

It needs a stack that runs, with a champion of `fashion-mnist`. Each turn trains with another batch size, in the script
and in the loop, on the same records; so the loop validates nothing. A turn counts if its version was released. This
changes what the stack's home has and serves: use one for trying things.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import psutil

from benchmarks import page
from models import registry
from ratchet.errors import Refusal
from ratchet.fleet import processes
from ratchet.lake import fetch, snapshot
from ratchet.local_http import LOCAL
from ratchet.recipe import load
from ratchet.settings import ROOT, settings
from releases import api
from replays.driver import run_ratchet

_RECIPE = "fashion-mnist"
_STAGES = ("ingest", "validate", "train", "optimize", "evaluate", "package", "release", "smoke_test")
"""Tasks of a run. Prefect lists the runs that it starts, such as the latency benchmark, as tasks too."""
_BEYOND, _UNCHANGED, _REST_CPU, _REST_MB = 20.0, 5.0, 5.0, 1200.0
"""Wanted: seconds beyond the script, seconds of a run with nothing new, percent of a core and megabytes at rest."""


@dataclass(frozen=True)
class Turn:
    batch_size: int
    plain: float
    """Seconds of the script, by the clock, and of these inside `fit`."""
    plain_fit: float
    loop: float
    stages: dict[str, float]
    """Seconds of each stage of the loop."""


def plain(batch_size: int) -> tuple[float, float]:
    recipe = load(_RECIPE)
    inputs = fetch.fetch_feed(recipe, recipe.batches[0])
    benchmark = fetch.fetch_feed(recipe, recipe.benchmark)
    files = dict(zip(("IMAGES", "LABELS", "TEST_IMAGES", "TEST_LABELS"), map(str, (*inputs, *benchmark)), strict=True))
    own = {"BATCH_SIZE": str(batch_size), "RECORDS": str(snapshot.take(recipe).records), "TF_CPP_MIN_LOG_LEVEL": "2"}
    env = {**os.environ, **files, **own}
    command = [sys.executable, "-m", "benchmarks.peers.plain_loop"]
    started = time.monotonic()
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=True)
    return time.monotonic() - started, float(done.stdout.split()[-1])


def loop(batch_size: int) -> float:
    """Seconds of the command, by the clock. Raises Refusal if the run failed."""
    started = time.monotonic()
    run_ratchet("loop", _RECIPE, "--batch-size", str(batch_size))
    return time.monotonic() - started


def stages() -> dict[str, float]:
    """Seconds of each stage of the newest run that was completed, and those until its process had started."""
    with httpx.Client(base_url=f"{settings().prefect_url}/api", timeout=30, **LOCAL) as client:
        mine = {"deployments": {"name": {"any_": [_RECIPE]}}, "flows": {"name": {"any_": ["retrain-and-release"]}}}
        completed = {**mine, "flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
        newest = {**completed, "sort": "EXPECTED_START_TIME_DESC", "limit": 1}
        (run,) = _json(client.post("/flow_runs/filter", json=newest))
        of_run = {"flow_runs": {"id": {"any_": [run["id"]]}}, "sort": "EXPECTED_START_TIME_ASC"}
        tasks = _json(client.post("/task_runs/filter", json=of_run))
    begun = {"start of the process": _between(run["created"], run["start_time"])}
    seconds = {task["name"].rpartition("-")[0]: task["total_run_time"] for task in tasks}
    return begun | {name: seconds[name] for name in _STAGES if name in seconds}


def _json(response: httpx.Response) -> Any:
    response.raise_for_status()
    return response.json()


def _between(first: str, then: str) -> float:
    return (np.datetime64(then.rstrip("Z")) - np.datetime64(first.rstrip("Z"))) / np.timedelta64(1, "s")


def turns(count: int) -> Iterator[Turn]:
    newest = next(number for number in itertools.count(1) if not registry.version(_RECIPE, str(number + 1)))
    first = 36 + 4 * newest  # those of an earlier benchmark are known, and train nothing
    for batch_size in range(first, first + 4 * count, 4):
        before = api.state_of(_RECIPE).champion
        end_bake_time()
        script, fit = plain(batch_size)
        try:
            seconds = loop(batch_size)
        except Refusal as refusal:
            print(refusal, file=sys.stderr)
            continue
        if api.state_of(_RECIPE).champion == before:
            print(f"batch size {batch_size}: no version was released, so this turn does not count", file=sys.stderr)
            continue
        print(f"batch size {batch_size}: script {script:.1f} s, loop {seconds:.1f} s", file=sys.stderr, flush=True)
        yield Turn(batch_size, script, fit, seconds, stages())


def at_rest(seconds: float) -> dict[str, tuple[float, float]]:
    """Percent of a core and megabytes (shared pages split among who has them) of each program of the stack."""
    members = list(_members())
    before = {process.pid: sum(process.cpu_times()[:2]) for _, process in members}
    time.sleep(seconds)
    shares = dict[str, tuple[float, float]]()
    for name, process in members:
        cpu, memory = shares.get(name, (0.0, 0.0))
        used = sum(process.cpu_times()[:2]) - before[process.pid]
        shares[name] = cpu + 100 * used / seconds, memory + process.memory_full_info().pss / 2**20
    return shares


def _members() -> Iterator[tuple[str, psutil.Process]]:
    """Every process of this home, with the program that it belongs to."""
    for process in processes.marked(settings().marker):
        program = processes.environment(process, processes.PROGRAM) or "supervisord"
        yield program.partition("-v")[0], process


def end_bake_time() -> None:
    """Lets the former champion go, which is warm for half an hour after a release."""
    if api.state_of(_RECIPE).phase == "idle":
        return
    run_ratchet("release", "promote", _RECIPE)
    until = time.monotonic() + 120
    while api.state_of(_RECIPE).phase != "idle":
        if time.monotonic() > until:
            raise Refusal("the release is not over after 2 min", _RECIPE, "See `ratchet status`")
        time.sleep(1)
    time.sleep(20)  # its process ends


def lines(measured: list[Turn], unchanged: float, rest: dict[str, tuple[float, float]]) -> Iterator[str]:
    yield "| | seconds | of these inside `fit` |"
    yield "| --- | --- | --- |"
    yield f"| plain script | {_spread([t.plain for t in measured])} | {_spread([t.plain_fit for t in measured])} |"
    yield f"| the loop | {_spread([t.loop for t in measured])} | as the script |"
    for stage in dict.fromkeys(name for turn in measured for name in turn.stages):
        yield f"| of these: {stage} | {_spread([turn.stages.get(stage, 0.0) for turn in measured])} | |"
    yield f"| the loop with nothing new | {unchanged:.1f} | |"
    yield ""
    yield "| at rest | % of a core | MB |"
    yield "| --- | --- | --- |"
    for name, (cpu, memory) in sorted(rest.items(), key=lambda each: -each[1][0]):
        yield f"| {name} | {cpu:.1f} | {memory:,.0f} |"
    cpu, memory = (sum(each[at] for each in rest.values()) for at in (0, 1))
    yield f"| all | {cpu:.1f} | {memory:,.0f} |"
    yield ""
    beyond = float(np.median([turn.loop - turn.plain for turn in measured]))
    yield page.target("seconds beyond the script", beyond, _BEYOND)
    yield page.target("seconds with nothing new", unchanged, _UNCHANGED)
    yield page.target("percent of a core at rest", cpu, _REST_CPU)
    yield page.target("megabytes at rest", memory, _REST_MB)


def _spread(values: list[float]) -> str:
    return f"{np.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--rest", type=float, default=60, help="seconds in which the stack is watched at rest")
    parser.add_argument("--json", action="store_true", help="print the stages of each turn as JSON")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    options = parser.parse_args()
    if api.state_of(_RECIPE).champion is None:
        raise SystemExit(str(Refusal("nothing serves it", _RECIPE, f"Run `ratchet up` and `ratchet loop {_RECIPE}`")))
    measured = list(turns(options.turns))
    if not measured:
        raise SystemExit("no turn released a version, so there is nothing to compare: run it again")
    unchanged = loop(measured[-1].batch_size)
    end_bake_time()
    rest = at_rest(options.rest)
    if options.json:
        print(json.dumps([vars(turn) for turn in measured]))
    content = [f"{page.machine()}, {len(measured)} turns:", "", *lines(measured, unchanged, rest)]
    print("\n".join(content))
    if options.write:
        page.write("bench-loop", content)


if __name__ == "__main__":
    main()
