"""The buttons of MLflow's and Prefect's pages and clients: each ends in a stated way, and the loop can be turned again.

docs/operations.md has the table.
"""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.conftest import ROOT
from tests.stack import BIN, NAME, Running, responds, running, until, with_champion

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = with_champion(tmp_path_factory.mktemp("stack") / "home", tmp_path_factory)
    with running(home) as stack:
        yield stack


def mlflow(stack: Running, method: str, route: str, **sent: Any) -> dict[str, Any]:
    """What MLflow's page sends when a person presses a button."""
    answer = httpx.request(method, f"{stack.mlflow}/api/2.0/mlflow/{route}", json=sent, timeout=20)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


@pytest.mark.parametrize("name", ["mlflow", "prefect"])
def test_a_server_that_hangs_is_named_by_status_with_what_that_means(stack: Running, name: str) -> None:
    master = stack.process(name)
    family = [master, *master.children(recursive=True)]
    for process in family:
        process.send_signal(signal.SIGSTOP)
    try:
        (line,) = [line for line in stack.ratchet("status").splitlines() if line.startswith(name)]
        assert "running, but does not answer" in line
        assert "what serves is not affected" in line
        assert f"ratchet logs {name}" in line
        assert stack.predict().status_code == 200
    finally:
        for process in family:
            process.send_signal(signal.SIGCONT)
    until(lambda: responds(stack.mlflow) and responds(stack.prefect), 30)


def test_what_was_paused_or_deleted_in_prefect_is_named_where_a_run_would_wait(stack: Running) -> None:
    stack.call_prefect("PATCH", "work_pools/cpu", {"is_paused": True})
    assert "prefect work-pool resume cpu" in stack.ratchet("loop", NAME, ok=False)
    status = stack.ratchet("status")
    assert "the work pool `cpu` is paused" in status
    assert "the schedule of `collect` is off" in status, "as in all tests of a stack"
    stack.call_prefect("PATCH", "work_pools/cpu", {"is_paused": False})
    stack.call_prefect("PATCH", "work_pools/cpu/queues/default", {"is_paused": True})
    assert "prefect work-queue resume default -p cpu" in stack.ratchet("loop", NAME, ok=False)
    stack.call_prefect("PATCH", "work_pools/cpu/queues/default", {"is_paused": False})
    stack.call_prefect("DELETE", f"deployments/{stack.deployment(f'retrain-and-release/{NAME}')['id']}")
    assert "run `ratchet up`" in stack.ratchet("loop", NAME, ok=False)
    stack.call_prefect("DELETE", "work_pools/gpu")
    until(lambda: "without a work pool: warm/gpu" in stack.ratchet("status"), 60, every=1)  # a worker makes it anew


def test_up_deploys_what_is_missing_and_leaves_what_a_person_changed(stack: Running, tmp_path: Path) -> None:
    """Here for a new recipe file, after the deployment and the pool of the test before were deleted."""
    spam = stack.deployment("retrain-and-release/spam")
    nightly = f"deployments/{spam['id']}/schedules/{spam['schedules'][0]['id']}"
    changed = {"cron": "0 5 * * 1", "timezone": "Europe/Berlin"}
    stack.call_prefect("PATCH", nightly, {"active": True, "schedule": changed})
    own = [{"active": False, "schedule": {"cron": "30 1 * * *", "timezone": "UTC"}}]
    stack.call_prefect("POST", f"deployments/{spam['id']}/schedules", own)
    stack.call_prefect("POST", f"deployments/{stack.deployment('rollback/spam')['id']}/pause_deployment")
    automations = {each["name"]: each for each in stack.call_prefect("POST", "automations/filter", {})}
    stack.call_prefect("PATCH", f"automations/{automations['retrain spam']['id']}", {"enabled": False})
    stack.call_prefect("DELETE", f"automations/{automations['retrain fashion-mnist']['id']}")
    recipe = (ROOT / "recipes" / "fashion_mnist.py").read_text().replace('"fashion-mnist"', '"another"', 1)
    (tmp_path / "another.py").write_text(recipe)
    stack.env["RATCHET_RECIPES"] += f":{tmp_path}"
    output = stack.ratchet("up")
    assert "retrain-and-release/another is deployed\n" in output
    assert f"retrain-and-release/{NAME} is deployed\n" in output
    assert "warm/gpu is deployed again\n" in output, "its pool had been deleted"
    assert "retrain-and-release/fashion-mnist is deployed again\n" in output, "its automation had been deleted"
    assert "retrain-and-release/spam" not in output
    enabled = {each["name"]: each["enabled"] for each in stack.call_prefect("POST", "automations/filter", {})}
    assert (enabled["retrain spam"], enabled["retrain fashion-mnist"]) == (False, True)
    now = stack.deployment("retrain-and-release/spam")["schedules"]
    when = {s["slug"]: (s["active"], s["schedule"]["cron"], s["schedule"]["timezone"]) for s in now}
    assert when == {"nightly": (True, "0 5 * * 1", "Europe/Berlin"), None: (False, "30 1 * * *", "UTC")}
    assert stack.deployment("rollback/spam")["paused"]
    stack.call_prefect("PATCH", nightly, {"active": False})


def test_a_schedule_that_sleeps_since_a_clock_was_set_back_is_named_by_status(stack: Running) -> None:
    """Prefect starts each scheduled run once: those that it has scheduled come at their time, and none before."""
    deployment = stack.deployment("collect/collect")
    scheduled = {"deployments": {"id": {"any_": [deployment["id"]]}},
                 "flow_runs": {"state": {"name": {"any_": ["Scheduled"]}}}}  # fmt: skip
    stack.supervisor.remove("worker-cpu")
    stack.set_schedule("collect/collect", active=True)
    until(lambda: len(stack.call_prefect("POST", "flow_runs/filter", scheduled)) >= 3, 90)
    assert "`collect` is next scheduled" not in stack.ratchet("status")
    for run in stack.call_prefect("POST", "flow_runs/filter", scheduled):
        move(stack, run["id"], timedelta(hours=2))
    try:
        assert "`collect` is next scheduled for" in stack.ratchet("status")
    finally:
        stack.set_schedule("collect/collect", active=False)
        stack.ratchet("up")


def test_after_an_outage_one_run_of_a_schedule_does_the_work_of_all(stack: Running) -> None:
    """Prefect and its worker are dead, with a run each minute: the time alone is simulated."""
    deployment = stack.deployment(f"retrain-and-release/{NAME}")
    (schedule,) = deployment["schedules"]
    route = f"deployments/{deployment['id']}/schedules/{schedule['id']}"
    scheduled = {"state": {"name": {"any_": ["Scheduled"]}}}
    mine: dict[str, Any] = {"deployments": {"id": {"any_": [deployment["id"]]}}, "flow_runs": scheduled}
    mine["sort"] = "EXPECTED_START_TIME_ASC"
    stack.supervisor.remove("worker-cpu")
    stack.call_prefect("PATCH", route, {"active": True, "schedule": {"cron": "* * * * *", "timezone": "UTC"}})
    until(lambda: len(stack.call_prefect("POST", "flow_runs/filter", mine)) >= 5, 90)
    ids = [run["id"] for run in stack.call_prefect("POST", "flow_runs/filter", mine)]
    stack.supervisor.remove("prefect")
    for number, id in enumerate(ids):  # the first five were due in the last minutes, and the others are far away
        move(stack, id, timedelta(minutes=number - 6) if number < 5 else timedelta(days=1, minutes=number))
    stack.ratchet("up")
    ended = lambda: [stack.call_prefect("GET", f"flow_runs/{id}")["state"] for id in ids[:5]]  # noqa: E731
    until(lambda: all(state["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") for state in ended()), 180, 1.0)
    messages = [state["message"] for state in ended()]
    stack.call_prefect("PATCH", route, {"active": False, "schedule": schedule["schedule"]})
    assert messages[:4] == ["a later run of the same schedule is due, and does the work"] * 4
    assert messages[4].startswith("nothing new: version 1"), messages
    assert stack.ledger.holder(f"run:{NAME}") is None


def move(stack: Running, run: str, by: timedelta) -> None:
    """Moves a scheduled run in time, in Prefect's database."""
    moment = datetime.now(UTC) + by
    at, zoned = f"{moment:%Y-%m-%d %H:%M:%S.%f}", f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}"
    with contextlib.closing(sqlite3.connect(stack.home / "prefect" / "prefect.db", timeout=30)) as database, database:
        times = "expected_start_time = ?, next_scheduled_start_time = ?"
        database.execute(f"UPDATE flow_run SET {times} WHERE id = ?", (at, at, run))
        details = "state_details = json_set(state_details, '$.scheduled_time', ?)"
        database.execute(f"UPDATE flow_run_state SET {details} WHERE flow_run_id = ?", (zoned, run))


def started_loop(stack: Running, *options: str) -> subprocess.Popen[str]:
    command = [BIN / "ratchet", "loop", NAME, *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=stack.env)


def reaches(stack: Running, loop: subprocess.Popen[str], phase: str) -> None:
    until(lambda: stack.state().phase == phase or loop.poll() is not None, 240)
    assert stack.state().phase == phase


def set_state(stack: Running, run: str, type: str) -> None:
    stack.call_prefect("POST", f"flow_runs/{run}/set_state", {"state": {"type": type}, "force": True})


def message(stack: Running, run: str) -> str:
    return str(stack.call_prefect("GET", f"flow_runs/{run}")["state"]["message"])


def own_run(stack: Running) -> str:
    """The run that watches the newest release."""
    return str(stack.ledger.statuses("run")[NAME].body["run"])


def test_a_cancelled_run_withdraws_its_release_and_the_champion_keeps_everything(stack: Running) -> None:
    assert "landed" in stack.ratchet("ingest", NAME, "--next")
    loop = started_loop(stack)
    reaches(stack, loop, "trial")
    run = own_run(stack)
    set_state(stack, run, "CANCELLING")
    output, _ = loop.communicate(timeout=60)
    assert loop.returncode == 1
    assert "the run cancelled" in output
    assert "Its release was withdrawn. The champion still serves" in output
    until(lambda: stack.state().phase == "idle")
    assert (stack.champion(), stack.predict().headers["x-model-version"]) == ("1", "1")
    until(lambda: "withdrawn" in message(stack, run), 30)


def test_the_release_of_a_deleted_run_is_withdrawn_by_reconcile(stack: Running) -> None:
    """Its process may be dead, and nobody watches the release any more."""
    loop = started_loop(stack)
    reaches(stack, loop, "trial")
    stack.call_prefect("DELETE", f"flow_runs/{own_run(stack)}")
    output, _ = loop.communicate(timeout=60)
    assert "was deleted in Prefect" in output
    reconcile = stack.deployment("reconcile/reconcile")["id"]
    run = stack.call_prefect("POST", f"deployments/{reconcile}/create_flow_run", {"state": {"type": "SCHEDULED"}})["id"]
    until(lambda: "Its release was withdrawn" in message(stack, run), 90)
    assert (stack.state().phase, stack.champion()) == ("idle", "1")


def stop_outside_of_a_transaction(stack: Running, process: psutil.Process) -> None:
    """Stops the process when it does not hold the ledger's lock, which nobody could take until it continues."""
    ledger = sqlite3.connect(stack.home / "ledger.db", timeout=1, isolation_level=None)
    with contextlib.closing(ledger):
        while True:
            process.send_signal(signal.SIGSTOP)
            try:
                ledger.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                process.send_signal(signal.SIGCONT)
            else:
                ledger.execute("ROLLBACK")
                return


def test_a_run_cancelled_while_its_version_gets_the_traffic_withdraws_it(stack: Running) -> None:
    """The controller is stopped for as long as it takes, since that phase passes within a second."""
    loop = started_loop(stack)
    reaches(stack, loop, "trial")
    run, controller = own_run(stack), stack.process("controller")
    stop_outside_of_a_transaction(stack, controller)
    try:
        stack.ratchet("release", "promote", NAME)
        assert stack.state().phase == "shifting"
        set_state(stack, run, "CANCELLING")
        output, _ = loop.communicate(timeout=60)
        assert "Its release was withdrawn. The champion still serves" in output
        until(lambda: "withdrawn" in message(stack, run), 30)
    finally:
        controller.send_signal(signal.SIGCONT)
    until(lambda: stack.state().phase == "idle")
    assert (stack.champion(), stack.predict().headers["x-model-version"]) == ("1", "1")


def test_the_same_release_may_be_requested_again_and_a_run_cancelled_too_late_says_so(stack: Running) -> None:
    loop = started_loop(stack)
    reaches(stack, loop, "trial")
    run, version = own_run(stack), stack.state().challenger
    assert version
    set_state(stack, run, "PAUSED")  # of the state alone: the release goes on
    reaches(stack, loop, "baking")
    set_state(stack, run, "CANCELLING")
    output, _ = loop.communicate(timeout=60)
    assert f"version {version.version} was champion already; `ratchet rollback {NAME}` takes it back" in output
    until(lambda: stack.state().phase == "idle", 60)
    until(lambda: stack.alias("champion") == version.version, 60)
    assert stack.champion() == version.version
    stack.ratchet("rollback", NAME)


def test_with_the_champions_files_and_the_registered_model_deleted_the_loop_goes_on_and_no_number_comes_twice(
    stack: Running,
) -> None:
    """The champion is compared by its package, which this machine has."""
    version = mlflow(stack, "GET", f"model-versions/get?name={NAME}&version=1")["model_version"]
    mlflow(stack, "POST", "runs/delete", run_id=version["run_id"])
    mlflow(stack, "DELETE", f"logged-models/{version['source'].removeprefix('models:/')}")
    store, folder = f"sqlite:///{stack.home}/mlflow/mlflow.db", str(stack.home / "mlflow" / "artifacts")
    gc = [BIN / "mlflow", "gc", "--backend-store-uri", store, "--artifacts-destination", folder]
    env = {**stack.env, "MLFLOW_TRACKING_URI": stack.mlflow}
    subprocess.run(gc, env=env, check=True, capture_output=True)
    assert "MLflow no longer has the package of version 1" in stack.ratchet("status")
    assert "MLflow no longer has this file" in stack.ratchet("lineage", NAME, ok=False)
    mlflow(stack, "DELETE", "registered-models/delete", name=NAME)
    assert "is gone from MLflow" in stack.ratchet("status")
    newest = max(
        int(entry.body["package"]["version"]) for entry in stack.ledger.read(NAME) if entry.kind == "requested"
    )
    output = stack.ratchet("loop", NAME, "--epochs", "2", "--batch-size", "64")
    assert f"version {newest + 1} is champion: every check passed" in output
    assert "no worse than the champion: passed" in output
    until(lambda: stack.alias("champion") == str(newest + 1))
    assert "version 1 serves after" in stack.ratchet("rollback", NAME)


def test_a_deleted_experiment_is_named_with_the_command_that_restores_it(stack: Running) -> None:
    known = httpx.get(f"{stack.mlflow}/api/2.0/mlflow/experiments/get-by-name?experiment_name={NAME}", timeout=20)
    id = known.json()["experiment"]["experiment_id"]
    mlflow(stack, "POST", "experiments/delete", experiment_id=id)
    output = stack.ratchet("loop", NAME, "--epochs", "1", ok=False)
    assert f"mlflow experiments restore -x {id}" in output
    mlflow(stack, "POST", "experiments/restore", experiment_id=id)


def test_an_artifact_that_mlflow_cannot_store_is_told_with_the_servers_reason(stack: Running) -> None:
    (stack.home / "mlflow" / "artifacts" / "77").write_text("a file where MLflow needs a folder")
    code = (
        "from models import registry\nfrom ratchet.errors import Refusal\n"
        "try:\n    registry.upload('77/models/m/artifacts/a', 'x')\nexcept Refusal as refusal:\n    print(refusal)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=stack.env, cwd=ROOT)
    assert "MLflow answered 500 (" in done.stdout
    assert "Error: [Errno" in done.stdout, done.stdout + done.stderr


def test_a_proxy_of_another_kind_in_the_shell_stops_no_command(stack: Running) -> None:
    env = {**stack.env, "ALL_PROXY": "socks5://user:secret@127.0.0.1:9"}
    for arguments in (["status"], ["loop", NAME]):
        done = subprocess.run([BIN / "ratchet", *arguments], capture_output=True, text=True, env=env)
        assert done.returncode == 0, done.stderr
        assert "ALL_PROXY names no HTTP proxy, so it is not used" in done.stderr
        assert "secret" not in done.stdout + done.stderr


def test_a_start_that_fails_says_what_the_log_says_and_ends_what_it_started(stack: Running) -> None:
    """MLflow's database is of a newer version; it is the last test here, since it ends the stack."""
    assert "nothing is running" in stack.ratchet("down")
    kept = stack.home / "kept"  # without a ledger there is no champion to serve
    kept.mkdir()
    for path in stack.home.glob("ledger.db*"):
        path.rename(kept / path.name)
    database = sqlite3.connect(stack.home / "mlflow" / "mlflow.db")
    ((known,),) = database.execute("SELECT version_num FROM alembic_version").fetchall()
    try:
        database.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
        database.commit()
        started = time.monotonic()
        output = stack.ratchet("up", ok=False)
        assert "Detected out-of-date database schema (found version ffffffffffff" in output
        assert "the start failed, so what it started is stopped again" in output
        assert stack.marked() == []
        assert time.monotonic() - started < 170, "and not by the time limit of 180 s"
    finally:
        database.execute("UPDATE alembic_version SET version_num = ?", (known,))
        database.commit()
        database.close()
        for path in kept.iterdir():
            path.rename(stack.home / path.name)
