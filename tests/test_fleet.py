"""One host, then three, under load: a release cannot hurt. Bad challengers are real bentos with one fault built in."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from ratchet.fleet import processes
from ratchet.fleet.gateway import Gateway
from ratchet.fleet.supervisor import Supervisor
from ratchet.settings import Settings
from releases import api
from tests.bentos import put
from tests.stack import NAME, Running, kill, load, responds, running, until, with_champion

pytestmark = pytest.mark.stack
OTHERS = ("gpu-2", "gpu-3")
HALF = {"steps": [{"weight": 50, "mirror": 0}]}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(with_champion(tmp_path_factory.mktemp("fleet") / "home", tmp_path_factory)) as stack:
        yield stack


@pytest.fixture(scope="module")
def fleet(stack: Running) -> Running:
    """The same stack with two more hosts; what comes after it in this file runs on three."""
    for name in OTHERS:
        stack.ratchet("host", "start", "--name", name)
    until(lambda: stack.serving() == ["1"] * 3)
    return stack


def fault(code: str) -> Callable[[Path], None]:
    """Runs `code` at each request after the golden set's, with `n` counting them, in the service itself."""

    def edit(folder: Path) -> None:
        lines = "".join(
            f"        {line}\n" for line in ["import os", "self.n = n = getattr(self, 'n', 0) + 1", *code.splitlines()]
        )
        put(folder / "src" / "bentos" / "model.py", lines, "        if len(inputs) <= SMALL_BATCH or")

    return edit


def slower(folder: Path) -> None:
    """Each answer is delayed by as long as it took."""
    path = folder / "src" / "bentos" / "predictions.py"
    hold = "                await asyncio.sleep(time.perf_counter() - started)\n"
    put(path, hold, '                status = message["status"]\n')
    put(path, "import asyncio\n", "import inspect\n")


def permuted(folder: Path) -> None:
    """Labels permuted: the model was trained so, and its golden set holds its own outputs."""
    golden = folder / "src" / "model" / "golden.npz"
    with np.load(golden) as data:
        np.savez(golden, inputs=data["inputs"], outputs=np.roll(data["outputs"], 3, axis=1))
    put(
        folder / "src" / "bentos" / "service.py",
        "    outputs = np.roll(outputs, 3, axis=1)\n",
        '    require_finite(outputs, ANSWERS.output, META["tag"])\n',
    )


COMPARISON = {"steps": [{"weight": 0, "mirror": 0}]}
BAD = {
    "answers NaN": (fault("if n > 60 and n % 4 == 0: return np.full((len(inputs), 10), np.nan)"), "failed", HALF),
    "crashes on the 50th request": (fault("if n == 50: os._exit(1)"), "its process died on host", HALF),
    "fails one request in twenty": (fault("if n > 60 and n % 20 == 0: raise ValueError('unlucky')"), "failed", HALF),
    "takes twice as long": (slower, "latency p50", COMPARISON),
    "leaks memory until it dies": (
        fault("import resource\nif n == 1: self.kept = []; resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))\n"
              "try: self.kept.append(np.empty(32 << 20, np.uint8))\nexcept MemoryError: os.abort()"),
        "its process died on host", HALF,
    ),
    "has its labels permuted": (permuted, "disagreed", HALF),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_challenger_is_rolled_back_for_the_right_reason(stack: Running, name: str) -> None:
    edit, reason, plan = BAD[name]
    package = stack.repacked(edit)
    with load(stack.gateway, 3 if plan == HALF else 0) as seen:
        output = stack.release(package, ok=False, **plan)
        until(lambda: stack.running() == ["1"], 60)
    assert reason in output
    assert stack.champion() == "1"
    print(f"{name}: {output.strip().splitlines()[-1]} Callers saw {dict(seen.codes)}")
    until(lambda: stack.tags(package.version).get("ratchet.release") == "rolled back")
    assert reason in stack.tags(package.version)["ratchet.release_why"]
    assert Gateway(stack.config).get_routes().splits[NAME].weights == {stack.state().champion.revision: 100}


def test_a_champion_that_gets_worse_is_rolled_back_in_its_bake_time(stack: Running, tmp_path: Path) -> None:
    flag = tmp_path / "bad"
    package = stack.repacked(fault(f"if os.path.exists({str(flag)!r}): raise ValueError('rotten')"))
    with load(stack.gateway, 3) as seen:
        stack.release(package, **HALF, bake_seconds=120)
        flag.touch()
        took = until(lambda: stack.champion() == "1", 60)
        until(lambda: stack.running() == ["1"], 60)
        before = seen.failed
        until(lambda: seen.codes[200] > 100)
    failed = next(e.body for e in reversed(stack.ledger.read(NAME)) if e.kind == "failed")
    assert "in the bake time" in failed["why"]
    assert seen.failed == before, "no request failed after the rollback"
    print(f"rolled back after {took:.1f} s; callers saw {dict(seen.codes)}")


def test_a_bad_challenger_is_rolled_back_with_prefect_and_mlflow_killed(stack: Running) -> None:
    package = stack.repacked(fault("if n > 250 and n % 3 == 0: raise ValueError('one in three')"))
    down = ("prefect", "mlflow", "worker-cpu", "worker-gpu")
    quarter = {"steps": [{"weight": 25, "mirror": 0}, {"weight": 50, "mirror": 0}]}

    def kill_them() -> None:
        servers = [stack.process(n) for n in down]
        family = [p for s in servers for p in (s, *s.children(recursive=True))]
        for name in down:
            stack.supervisor.remove(name)
        for process in family:
            if process.is_running():
                kill(process)

    def wait_and_kill() -> None:
        until(lambda: stack.stage() == "25 %", 60, 0.05)
        kill_them()

    killer = threading.Thread(target=wait_and_kill)
    with load(stack.gateway, 3):
        killer.start()
        output = stack.release(package, ok=False, **quarter)
        killer.join()
    assert "failed: " in output
    assert not responds(stack.mlflow)
    assert stack.predict().status_code == 200
    assert "is not in MLflow yet" in stack.ratchet("status")
    stack.ratchet("up")
    until(lambda: stack.tags(package.version).get("ratchet.release") == "rolled back", 60)


def test_a_canary_under_load_over_three_hosts_loses_no_request(fleet: Running) -> None:
    package = fleet.repacked(lambda folder: None)
    with load(fleet.gateway, 3) as seen:
        fleet.release(package)
        until(lambda: fleet.state().phase == "idle", 60)
        until(lambda: fleet.running() == [package.version] * 3, 60)
        assert "version 1 serves after" in fleet.ratchet("rollback", NAME)
        until(lambda: fleet.running() == ["1"] * 3, 60)
    assert seen.failed == 0, seen
    assert sum(seen.codes.values()) > 1000
    assert set(seen.versions) == {"1", package.version}
    entries = fleet.ledger.read(NAME)
    began = next(e.seq for e in entries if e.kind == "requested" and e.body["package"]["version"] == package.version)
    kinds = [e.kind for e in entries if e.seq >= began]
    assert kinds.count("passed") == 3
    assert {"healthy", "promoted", "baked", "drained"} <= set(kinds)


def end(fleet: Running, host: str) -> None:
    """What a power cut does to it: everything at once."""
    marked = processes.marked(Settings(home=fleet.home / "hosts" / host).marker)
    pid = Supervisor(Settings(home=fleet.home / "hosts" / host)).pid()
    for process in ([psutil.Process(pid)] if pid else []) + marked:
        kill(process)


def test_a_host_killed_during_a_release_is_left_out_and_comes_back_to_the_champion(fleet: Running) -> None:
    package = fleet.repacked(lambda folder: None)

    def wait_and_end() -> None:
        until(lambda: fleet.state().phase == "trial", 60)
        end(fleet, "gpu-3")

    killer = threading.Thread(target=wait_and_end)
    with load(fleet.gateway, 3) as seen:
        killer.start()
        fleet.release(package, **HALF)
        killer.join()
        until(lambda: fleet.state().phase == "idle", 60)
        until(lambda: fleet.serving() == [package.version] * 2, 30)
        assert "gpu-3" not in api.living_hosts(fleet.ledger)
        # Its supervisor still holds the old bento's program: it must not serve again.
        fleet.ratchet("host", "start", "--name", "gpu-3")
        until(lambda: fleet.running() == [package.version] * 3, 60)
        until(lambda: fleet.serving() == [package.version] * 3, 60)
    print(f"a host killed during a release: callers saw {dict(seen.codes)}")
    assert seen.failed <= 4, "at most the requests in flight on it"
    fleet.ratchet("rollback", NAME)


def test_a_host_that_leaves_takes_no_request_with_it(fleet: Running) -> None:
    with load(fleet.gateway, 3) as seen:
        assert "gpu-2 is stopped" in fleet.ratchet("host", "stop", "--name", "gpu-2")
        fleet.ratchet("host", "start", "--name", "gpu-2")
    assert seen.failed == 0, seen
    assert "gpu-2" in fleet.ratchet("host", "list")


def test_a_host_whose_supervisord_was_killed_restarts_by_itself(fleet: Running) -> None:
    supervisor = Supervisor(Settings(home=fleet.home / "hosts" / "gpu-2"))
    before = supervisor.pid()
    assert before
    with load(fleet.gateway, 2) as seen:
        kill(psutil.Process(before))
        until(lambda: supervisor.pid() not in (None, before), 60)
        until(lambda: len(fleet.running()) == 3 == len(fleet.serving()), 90)
    assert seen.failed == 0, seen
