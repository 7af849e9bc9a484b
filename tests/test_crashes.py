"""What dies, comes back: the real stack with a champion, and one process after another killed."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from benchmarks import chaos
from ratchet.files import locked
from tests.conftest import ROOT, free_ports
from tests.stack import BIN, NAME, Running, kill, load, responds, running, until, with_champion

pytestmark = pytest.mark.stack
COMMIT = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout
SEED = int(os.environ.get("CHAOS_SEED") or int(COMMIT[:4] or "0", 16))
"""Each commit tries others; every worker of one run has the same."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = with_champion(tmp_path_factory.mktemp("stack") / "home", tmp_path_factory)
    with running(home, reconcile=True) as stack:
        yield stack


def test_bentoml_serves_the_current_bento_by_its_relative_path(stack: Running) -> None:
    (port,) = free_ports(1)
    command = [str(BIN / "bentoml"), "serve", f"{stack.home.name}/bentos/{NAME}/current", "--port", str(port)]
    process = subprocess.Popen(
        command, env=stack.env, cwd=stack.home.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        url = f"http://127.0.0.1:{port}/v2/models/{NAME}/ready"
        until(lambda: httpx.get(url).status_code == 200 if responds(url) else False, 60)
        children = psutil.Process(process.pid).children(recursive=True)
        ips = {c.laddr.ip for p in children for c in p.net_connections() if c.status == psutil.CONN_LISTEN}
        assert ips == {"127.0.0.1"}
    finally:
        process.terminate()
        process.wait(30)


def test_a_killed_worker_master_and_gateway_come_back_by_themselves(stack: Running) -> None:
    name = next(p.name for p in stack.supervisor.list() if p.name.startswith("bento"))
    master = stack.process(name)
    worker = master.children()[0]
    kill(master)
    took = until(lambda: stack.predict().status_code == 200 and not worker.is_running(), 30)
    until(lambda: stack.process(name).pid != master.pid)
    print(f"a killed master: answers again after {took:.1f} s")
    until(lambda: stack.serving())
    worker = stack.process(name).children()[0]
    kill(worker)
    answer = httpx.post(f"{stack.gateway}/{NAME}/predict", json={"images": [[[0] * 28] * 28]}, timeout=20)
    assert answer.status_code in (200, 503), "refused, not left without an answer"
    took = until(lambda: stack.predict().status_code == 200, 40)
    print(f"a killed worker: answers again after {took:.1f} s")
    kill(stack.process("envoy"))
    until(lambda: responds(stack.gateway) and stack.predict().status_code == 200)


def test_a_server_whose_master_was_killed_releases_its_port(stack: Running) -> None:
    """MLflow's own server outlives its master, and would hold the port for ever."""
    master = stack.process("mlflow")
    below = master.children(recursive=True)
    assert below
    kill(master)
    until(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in below), 20)
    until(lambda: responds(stack.mlflow) and stack.alias("champion") == "1", 60)


def test_after_supervisord_is_killed_everything_restarts_and_adopts_the_living_bento(stack: Running) -> None:
    version, before = stack.champion(), stack.supervisor.pid()
    with load(stack.gateway, 2, 0.2) as seen:
        (bento,) = stack.ledger.statuses("host").popitem()[1].body["endpoints"]
        kill(psutil.Process(before))
        assert stack.predict().status_code == 200, "the gateway still answers"
        # Each of these is written to the bento's log, which must not be a pipe to a dead process.
        for _ in range(20):
            url = f"http://127.0.0.1:{bento['port']}/predict"
            assert httpx.post(url, json={"images": [[[300] * 28] * 28]}, timeout=20).status_code == 400
        until(lambda: stack.supervisor.pid() not in (None, before), 60)

        def settled() -> bool:
            processes = stack.supervisor.list()
            complete = len(processes) == 8 and all(process.state == "running" for process in processes)
            endpoints = [e for status in stack.ledger.statuses("host").values() for e in status.body["endpoints"]]
            return complete and [e["state"] for e in endpoints] == ["running"] and stack.serving() == [version]

        took = until(settled, 120)
    print(f"supervisord was killed: everything runs {took:.0f} s after the next one started")
    print(f"callers saw {dict(seen.codes)}, and were without an answer for at most {seen.outage:.1f} s")
    assert set(seen.versions) <= {version, "?"}
    log = (stack.home / "logs" / "agent.log").read_text().partition("supervisord is not running")[2]
    assert log.index("golden inputs as expected") < log.index("ending unsupervised processes"), (
        "the old one ended when the new one was ready"
    )
    with locked(stack.home / "stack.lock"):  # its end
        pass
    stack.ratchet("up")
    assert stack.predict().headers["x-model-version"] == version


def test_down_and_up_again_brings_the_champion_back_under_the_settings_of_now(stack: Running) -> None:
    """A champion must not stay on a CPU when a GPU is requested, and `up` does not call it healthy."""
    version = stack.champion()
    stack.ratchet("down")
    assert stack.marked() == []
    stack.env["RATCHET_DEVICE"] = "gpu"
    output = stack.ratchet("up", ok=False)
    assert "this host serves on a gpu, and onnxruntime has no CUDAExecutionProvider" in output
    assert stack.predict().status_code == 503
    stack.ratchet("down")
    del stack.env["RATCHET_DEVICE"]
    stack.ratchet("up")
    assert stack.predict().headers["x-model-version"] == version


def test_a_second_stack_runs_beside_the_first_and_a_port_in_use_is_named(stack: Running, tmp_path: Path) -> None:
    taken = {**stack.env, "RATCHET_HOME": str(tmp_path / "other")}
    done = subprocess.run([BIN / "ratchet", "up"], capture_output=True, text=True, env=taken)
    assert done.returncode == 1
    assert "the port is in use" in done.stderr
    assert "RATCHET_PREFECT_PORT" in done.stderr
    assert os.environ.get("RATCHET_HOME") is None
    with running(tmp_path / "second") as other:
        assert other.status()["recipes"][NAME]["champion"] is None
        assert stack.predict().status_code == 200
    assert stack.predict().status_code == 200, "the other's end did not touch this one"


def test_deploying_again_leaves_a_schedule_as_a_person_set_it(stack: Running) -> None:
    name = f"retrain-and-release/{NAME}"
    url = f"{stack.prefect}/api/deployments/name/{name}"
    deployment = httpx.get(url).json()
    assert [s["active"] for s in deployment["schedules"]] == [False]
    assert deployment["pull_steps"] in ([], None)
    assert str(ROOT) not in httpx.get(url).text
    schedule = f"{stack.prefect}/api/deployments/{deployment['id']}/schedules/{deployment['schedules'][0]['id']}"
    assert httpx.patch(schedule, json={"active": True}).status_code == 204
    (stack.home / "deployed.json").unlink()
    assert f"{name} is deployed again; as you left them in Prefect: schedules" in stack.ratchet("up")
    assert [s["active"] for s in httpx.get(url).json()["schedules"]] == [True]
    now = httpx.get(url).json()
    schedule = f"{stack.prefect}/api/deployments/{now['id']}/schedules/{now['schedules'][0]['id']}"
    httpx.patch(schedule, json={"active": False})


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("seed", [SEED])
def test_whatever_is_killed_in_a_release_callers_are_answered_and_it_ends_in_one_of_two_states(
    stack: Running, seed: int
) -> None:
    """Two of the pairs of `make test-chaos`, which tries all."""
    random.seed(seed)
    stack.bless(stack.repacked(lambda folder: None))
    stack.ratchet("host", "start", "--name", chaos.OTHER)
    until(lambda: chaos.settled(stack), 60)
    for number, (victim, stage) in enumerate(chaos.pairs(2, seed)):
        result = chaos.one(stack, victim, stage, number)
        print(f"CHAOS_SEED={seed}: {result.row()}")
        assert result.failed == 0 or victim in chaos.SILENT, f"CHAOS_SEED={seed}: {result.row()}"
