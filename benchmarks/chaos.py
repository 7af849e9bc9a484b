"""`make test-chaos`: one process killed at one stage of a release, for every pair, under load; prints a table.

Whatever is killed, callers still get answers (except during Envoy's own restart), and the fleet ends with one
champion, old or new, and no orphan or lock is left.
"""

import argparse
import contextlib
import itertools
import random
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from ratchet.fleet import processes
from ratchet.fleet.stack import Stack
from ratchet.fleet.supervisor import Supervisor
from tests.stack import BIN, NAME, Running, kill, load, running, until

FLOWS = ("flow", "prefect", "mlflow", "worker-cpu", "worker-gpu")
VICTIMS = (*FLOWS, "controller", "agent", "new bento's master", "new bento's worker", "champion's master",
           "champion's worker", "envoy", "supervisord")  # fmt: skip
STAGES = ("warming", "the comparison", "a shadow of 20 %", "50 %", "baking")
OTHER = "gpu-2"
"""A second host: with one host, nobody can answer while its only bento is dead."""
SILENT = ("envoy", "supervisord")
"""Processes whose death callers notice."""


@dataclass(frozen=True)
class Result:
    victim: str
    stage: str
    end: str
    requests: int
    failed: int
    outage: float
    seconds: float

    def row(self) -> str:
        figures = f"{self.end} | {self.requests} | {self.failed} | {self.outage:.1f} | {self.seconds:.0f}"
        return f"| {self.victim} | {self.stage} | {figures} |"


HEAD = "| killed | at | ended with | requests | failed | longest time without an answer, s | settled after, s |"
RULE = "| --- " * 7 + "|"


def victims(stack: Running, victim: str) -> list[psutil.Process]:
    if victim == "supervisord":
        return [psutil.Process(stack.supervisor.pid())]
    if victim == "flow":
        return [p for p in stack.marked() if "PREFECT__FLOW_RUN_ID" in p.environ()]
    if "bento" not in victim and "champion" not in victim:
        return [stack.process(victim)]
    state = stack.state()
    package = state.champion if ("champion" in victim) != (state.phase == "baking") else state.challenger or state.warm
    assert package
    master = stack.process(f"bento-{NAME}-{package.revision}")
    return [master] if victim.endswith("master") else master.children()[:1]


def settled(stack: Running) -> bool:
    """One champion alone on every host, nothing unsupervised, no lease held."""
    state, homes = stack.state(), [stack.config, *(other.settings for other in Stack(stack.config).hosts())]
    if state.phase != "idle" or state.draining or len(stack.running()) != len(homes):
        return False
    status = stack.status()
    recipe = status["recipes"][NAME]
    champion = state.champion
    assert champion
    endpoints = sorted((e["host"], e["revision"], e["state"], e["in_gateway"]) for e in recipe["endpoints"])
    return (
        recipe["shares"] == {champion.revision: 100}
        and endpoints == sorted((home.host_name, champion.revision, "running", True) for home in homes)
        and not any(processes.unsupervised(home.marker, Supervisor(home).pid()) for home in homes)
        and all(p["state"] == "running" for p in status["processes"])
        and stack.ledger.holder(f"run:{NAME}") is None
    )  # fmt: skip


@contextlib.contextmanager
def release(stack: Running, victim: str, number: int) -> Iterator[None]:
    """By a run of the loop that trains a candidate, if a process that it needs will die; else by hand."""
    champion = stack.state().champion
    assert champion
    other = "2" if champion.version == "1" else "1"
    candidate = ("--epochs", str(2 + number // 16), "--batch-size", str(16 + number % 16))
    arguments = ["loop", NAME, *candidate] if victim in FLOWS else ["release", NAME, other]
    command = [BIN / "ratchet", *arguments]
    process = subprocess.Popen(command, env=stack.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def one(stack: Running, victim: str, stage: str, number: int) -> Result:
    """Releases a new version, kills at the stage, and waits until the fleet has settled."""
    before, attempt = stack.state().champion, stack.state().attempt
    with load(stack.gateway, 2) as seen, release(stack, victim, number):
        until(lambda: stack.state().attempt > attempt and stack.stage() == stage, 400, 0.05)
        time.sleep(random.random())
        killed: list[psutil.Process] = []
        while not killed and stack.stage() == stage:
            with contextlib.suppress(psutil.Error, StopIteration, AssertionError):
                killed = victims(stack, victim)
        for process in killed:
            with contextlib.suppress(psutil.Error):
                kill(process)
        killed_at = time.monotonic()
        until(lambda: settled(stack), 300, 1.0)
        seconds = time.monotonic() - killed_at
    end = "old champion" if stack.state().champion == before else "new champion"
    end += "" if killed else " (nothing to kill)"
    return Result(victim, stage, end, sum(seen.codes.values()), seen.failed, seen.outage, seconds)


def pairs(sample: int | None, seed: int, of: tuple[str, ...] = VICTIMS) -> list[tuple[str, str]]:
    every = list(itertools.product(of, STAGES))
    return every if sample is None else random.Random(seed).sample(every, sample)


@contextlib.contextmanager
def stage_set(home: Path) -> Iterator[Running]:
    with running(home, reconcile=True, RATCHET_WARM_SECONDS="60") as stack:
        stack.ratchet("loop", NAME)
        stack.ratchet("loop", NAME, "--epochs", "3")
        stack.ratchet("host", "start", "--name", OTHER)
        until(lambda: settled(stack), 60)
        yield stack


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, help="only so many pairs")
    parser.add_argument("--victims", type=lambda text: tuple(text.split(",")), default=VICTIMS, help="only these")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 16))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    random.seed(options.seed)
    bad = 0
    with tempfile.TemporaryDirectory() as folder, stage_set(Path(folder) / "home") as stack:
        print(f"{HEAD}\n{RULE}", flush=True)
        for number, (victim, stage) in enumerate(pairs(options.sample, options.seed, options.victims)):
            try:
                result = one(stack, victim, stage, number)
            except AssertionError as error:  # the rest of the table is worth having
                bad += 1
                print(f"| {victim} | {stage} | NOT SETTLED: {error}, {stack.stage()} |", flush=True)
                stack.ratchet("up")
                until(lambda: stack.stage() == "idle", 1000)
                continue
            bad += result.failed > 0 and victim not in SILENT
            print(result.row(), flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
