"""The whole loop on the real stack, in the order of a model's life. Each test continues where the last one ended."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest

from ratchet.types import to_json
from releases import machine
from tests.conftest import HERE, ROOT
from tests.stack import BIN, NAME, Outside, Running, kill, load, outside, responds, running, until

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def proxy() -> Iterator[Outside]:
    with outside() as proxy:
        yield proxy


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, proxy: Outside) -> Iterator[Running]:
    """Every request that would leave this machine goes to the proxy. The home has a space in its path."""
    home, own = tmp_path_factory.mktemp("stack") / "a home", tmp_path_factory.mktemp("own")
    shutil.copytree(ROOT / "recipes", own / "recipes")
    recipes = shutil.copytree(HERE / "recipes", own / "tests" / "recipes")
    with running(
        home,
        cold=True,
        reconcile=True,
        RATCHET_RECIPES=str(recipes),
        HTTP_PROXY=proxy.url,
        HTTPS_PROXY=proxy.url,
        https_proxy=proxy.url,
    ) as stack:
        yield stack


def prefect(stack: Running, *arguments: str) -> str:
    """Prefect's own command in a plain shell; the API's URL is in pyproject.toml for the default port."""
    env = {**stack.env, "PREFECT_API_URL": f"{stack.prefect}/api", "NO_PROXY": "127.0.0.1"}
    done = subprocess.run([BIN / "prefect", *arguments], capture_output=True, text=True, env=env, cwd=ROOT)
    return done.stdout + done.stderr


def versions(stack: Running) -> dict[str, dict[str, str]]:
    url, params = f"{stack.mlflow}/api/2.0/mlflow/model-versions/search", {"filter": f"name='{NAME}'"}
    registered = httpx.get(url, params=params).json().get("model_versions", [])
    return {v["version"]: {t["key"]: t["value"] for t in v.get("tags", [])} for v in registered}


def test_everything_is_healthy_and_on_loopback(stack: Running) -> None:
    states = {p["name"]: p["state"] for p in stack.status()["processes"]}
    assert states == dict.fromkeys(
        ["agent", "controller", "envoy", "mlflow", "prefect", "worker-cpu", "worker-gpu"], "running"
    )
    listening = [
        c.laddr.ip for p in stack.marked() for c in p.net_connections() if c.status == psutil.CONN_LISTEN and c.laddr
    ]
    assert listening
    assert set(listening) <= {"127.0.0.1", "::1"}


def test_a_loop_before_any_release_answers_through_the_gateway(stack: Running) -> None:
    assert httpx.get(f"{stack.gateway}/{NAME}/predict").status_code == 404
    output = stack.ratchet("loop", NAME)
    assert "first release" in output
    assert f"curl -F image=@{stack.home}/example-{NAME}.png {stack.gateway}/{NAME}/classify" in output
    answer = stack.predict()
    assert (answer.status_code, answer.headers["x-model-version"]) == (200, "1")
    assert stack.alias("champion") == "1"


def test_the_same_loop_again_does_nothing_and_says_so(stack: Running) -> None:
    started = time.monotonic()
    output = stack.ratchet("loop", NAME)
    assert "nothing new: version 1 already serves" in output
    assert list(versions(stack)) == ["1"]
    print(f"the second loop took {time.monotonic() - started:.1f} s")


def test_status_shows_the_champion_and_its_endpoints(stack: Running) -> None:
    status = stack.status()["recipes"][NAME]
    assert (status["champion"], status["phase"]) == ("1", "idle")
    assert status["shares"] == {status["bento"].partition(":")[2]: 100}
    assert len(status["digest"]) == 64
    assert status["bento"].startswith(f"{NAME}:v1-")
    (endpoint,) = status["endpoints"]
    assert endpoint["ready"]
    assert status["last_snapshot"]["records"] == 3000
    assert status["last_run"]["state"] == "completed"
    assert "version 1 is champion" in stack.ratchet("status")


def test_the_mlflow_run_has_its_metrics_data_set_and_artifacts(stack: Running) -> None:
    run = httpx.post(f"{stack.mlflow}/api/2.0/mlflow/runs/search", json={"experiment_ids": ["1"]}).json()["runs"][0]
    metrics = {m["key"] for m in run["data"]["metrics"]}
    assert {"loss", "val_accuracy", "test_accuracy", "fit_seconds"} <= metrics
    tags = {t["key"]: t["value"] for t in run["data"]["tags"]}
    (data,) = run["inputs"]["dataset_inputs"]
    fingerprint = stack.status()["recipes"][NAME]["last_snapshot"]["fingerprint"]
    assert tags["ratchet.snapshot"] == fingerprint
    assert fingerprint.startswith(data["dataset"]["digest"])
    assert {"git.commit", "lock.sha256"} <= set(tags)
    files = httpx.get(f"{stack.mlflow}/api/2.0/mlflow/artifacts/list", params={"run_id": run["info"]["run_id"]}).json()
    assert {"learning_curves.png", "confusion_matrix.png"} <= {f["path"] for f in files["files"]}
    experiment = httpx.get(f"{stack.mlflow}/api/2.0/mlflow/experiments/get", params={"experiment_id": "1"}).json()
    assert {"key": "mlflow.experimentKind", "value": "custom_model_development"} in experiment["experiment"]["tags"]
    assert httpx.get(stack.mlflow).status_code == 200
    page = stack.ratchet("card", NAME, "-o", str(stack.home / "page.html"))
    assert "page.html" in page
    assert "promoted" in (stack.home / "page.html").read_text()
    assert "version 1: blessed, released" in stack.ratchet("dossier", NAME, "1", "--markdown"), "its earlier name"
    assert "there is no such version: version 99" in stack.ratchet("card", NAME, "99", ok=False)
    tags = versions(stack)["1"]
    assert tags["ratchet.evaluation"] == "blessed"
    assert tags["ratchet.release"] == "promoted"


def test_the_gateway_routes_what_callers_need_and_nothing_else(stack: Running) -> None:
    for path in ("docs.json", "", "v2", f"v2/models/{NAME}"):
        assert httpx.get(f"{stack.gateway}/{NAME}/{path}").status_code == 200
    for path in (
        f"/v2/models/{NAME}",
        f"/v2/models/{NAME}/versions/1/ready",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2",
    ):
        assert httpx.get(f"{stack.gateway}{path}").status_code == 200
    for path in ("metrics", "card", "ops/recent", "schema.json", "livez", "../metrics", "%2e%2e/metrics"):
        answer = httpx.get(f"{stack.gateway}/{NAME}/{path}")
        assert answer.status_code == 404
        assert set(answer.json()) == {"error", "which", "next"}


def test_the_lineage_from_the_batch_to_the_response_holds_and_a_broken_link_is_named(stack: Running) -> None:
    output = stack.ratchet("lineage", NAME)
    assert [line.split()[0] for line in output.splitlines()] == ["holds"] * 6
    packaged = json.loads(versions(stack)["1"]["ratchet.variant"])["file"]
    (artifact,) = (stack.home / "mlflow" / "artifacts").rglob(packaged)
    content = artifact.read_bytes()
    artifact.write_bytes(content[:-1] + b"x")
    try:
        broken = stack.ratchet("lineage", NAME, ok=False)
    finally:
        artifact.write_bytes(content)
    assert "the chain is broken at export" in broken
    assert "no such version" in stack.ratchet("lineage", NAME, "99", ok=False)


def test_a_version_is_trained_again_to_the_same_weights(stack: Running) -> None:
    assert "version 1 of small-fashion: the same weights" in stack.ratchet("reproduce", NAME)
    assert list(versions(stack)) == ["1"], "nothing is registered"


def test_tritons_client_classifies_the_benchmark_through_the_gateway(stack: Running) -> None:
    import tritonclient.http as triton

    kept = pq.read_table(next((stack.home / "lake" / NAME).glob("benchmark-*.parquet")))
    images = np.frombuffer(b"".join(kept["image"].to_pylist()), np.uint8).reshape(-1, 28, 28)
    labels = kept["label"].to_numpy()
    client = triton.InferenceServerClient(stack.gateway.removeprefix("http://"))
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(NAME, "1")
    tensor = triton.InferInput("image", list(images.shape), "UINT8")
    tensor.set_data_from_numpy(images)
    answers = client.infer(NAME, [tensor]).as_numpy("class")
    assert (answers == labels).mean() > 0.6


def test_a_crowd_is_queued_and_not_refused(stack: Running) -> None:
    """The health check must not wait behind it, or the gateway would count the revision as dead."""

    async def one(client: httpx.AsyncClient) -> list[int]:
        body = {"images": [[[0] * 28] * 28]}
        return [(await client.post(f"{stack.gateway}/{NAME}/predict", json=body)).status_code for _ in range(4)]

    async def crowd() -> set[int]:
        limits = httpx.Limits(max_connections=160, max_keepalive_connections=160)
        async with httpx.AsyncClient(timeout=60, limits=limits) as client:
            return {code for codes in await asyncio.gather(*(one(client) for _ in range(160))) for code in codes}

    assert asyncio.run(crowd()) == {200}


def test_up_again_is_harmless(stack: Running) -> None:
    before = stack.supervisor.list()
    with load(stack.gateway) as seen:
        stack.ratchet("up")
    assert stack.supervisor.list() == before
    assert seen.failed == 0
    assert sum(seen.codes.values()) > 10


def test_a_batch_that_fails_its_suite_ends_the_run_and_the_champion_still_serves(
    stack: Running, pictures, tmp_path: Path
) -> None:
    images = pictures[0][:200].copy()
    images[:9] = 7
    np.savez(tmp_path / "bad.npz", x=images, y=pictures[1][:200])
    assert "200 landed" in stack.ratchet("ingest", NAME, str(tmp_path / "bad.npz"))
    output = stack.ratchet("loop", NAME, ok=False)
    assert "the suite failed" in output
    assert "9 of 200" in output
    assert "for records" in output
    assert (stack.predict().status_code, stack.champion()) == (200, "1")
    listed = stack.ratchet("quarantine", "list", NAME)
    assert "200 rows" in listed
    batch = listed.split()[0]
    assert "deviation" in stack.ratchet("quarantine", "show", NAME, batch)
    assert "dropped" in stack.ratchet("quarantine", "drop", NAME, batch, "--why", "a broken scanner")


def test_a_new_batch_gives_a_new_version_by_the_native_command_with_no_request_lost(stack: Running) -> None:
    assert "1500 landed" in stack.ratchet("ingest", NAME, "--next")
    assert "every" not in stack.ratchet("quarantine", "list", NAME)
    with load(stack.gateway, 2, 0.1) as seen:
        output = prefect(stack, "deployment", "run", f"retrain-and-release/{NAME}", "--watch")
        assert "Completed" in output or "finished successfully" in output, output
    assert stack.champion() == "2"
    assert seen.failed == 0, seen
    assert set(seen.versions) == {"1", "2"}
    assert (stack.alias("champion"), stack.alias("previous")) == ("2", "1")
    passed = [e.body for e in stack.ledger.read(NAME) if e.kind == "passed"]
    assert [p["step"] for p in passed] == [0, 1, 2], "the comparison, the shadow, 50 %"
    assert all(c["outcome"] in ("passed", "skipped") for p in passed for c in p["checks"])
    until(lambda: stack.running() == ["2"], 60)


def test_families_compete_and_the_best_is_rejected_registered_and_never_served(stack: Running) -> None:
    """Barely trained on the same data, each is a candidate of its own, and a bad one."""
    before, barely = set(versions(stack)), ("--epochs", "1", "--batch-size", "1000")
    output = stack.ratchet("loop", NAME, "--families", "cnn,transformer", *barely, ok=False)
    assert "validation accuracy" in output
    new = {version: tags for version, tags in versions(stack).items() if version not in before}
    assert set(new) == {"3", "4"}
    (loser,) = (version for version, tags in new.items() if tags["ratchet.evaluation"] == "skipped")
    (winner,) = set(new) - {loser}
    assert f"version {winner} (cnn) is better" in new[loser]["ratchet.evaluation_why"]
    assert f"version {winner} was rejected" in output
    assert new[winner]["ratchet.evaluation"] == "rejected"
    assert "accuracy" in new[winner]["ratchet.evaluation_why"]
    assert f"version {winner}: rejected, not on trial yet" in stack.ratchet("card", NAME, winner, "--markdown")
    assert stack.champion() == "2"


def test_with_prefect_and_mlflow_killed_a_rollback_works_and_the_aliases_follow(stack: Running) -> None:
    supervisor = stack.supervisor
    servers = [stack.process(n) for n in ("prefect", "mlflow", "worker-cpu", "worker-gpu")]
    family = [p for s in servers for p in (s, *s.children(recursive=True))]
    for name in ("prefect", "mlflow", "worker-cpu", "worker-gpu"):
        supervisor.remove(name)
    for process in family:
        if process.is_running():
            kill(process)
    assert not responds(stack.mlflow)
    assert stack.predict().status_code == 200
    with load(stack.gateway) as seen:
        output = stack.ratchet("rollback", NAME, "--why", "it looked wrong")
    assert "version 1 serves after" in output
    assert seen.failed == 0, seen
    assert stack.predict().headers["x-model-version"] == "1"
    assert "is not in MLflow yet" in stack.ratchet("status")
    stack.ratchet("up")
    until(lambda: (stack.alias("champion"), stack.alias("previous")) == ("1", None), 30)
    until(lambda: versions(stack)["2"]["ratchet.release"] == "rolled back")
    assert "it looked wrong" in versions(stack)["2"]["ratchet.release_why"]
    assert "tester" in stack.ratchet("history", NAME)


def test_a_version_rolled_back_is_not_released_by_the_next_run(stack: Running) -> None:
    assert "released again only by hand" in stack.ratchet("loop", NAME)
    assert stack.champion() == "1"
    assert "no former champion" in stack.ratchet("rollback", NAME, ok=False)


def move_champion(stack: Running, version: str) -> None:
    """As a person does it in the MLflow UI."""
    sent = {"name": NAME, "alias": "champion", "version": version}
    assert httpx.post(f"{stack.mlflow}/api/2.0/mlflow/registered-models/alias", json=sent).status_code == 200


def test_an_alias_moved_by_hand_in_mlflow_is_followed_if_the_version_may_serve(stack: Running) -> None:
    move_champion(stack, "2")
    until(lambda: stack.champion() == "2", 60)
    assert "@champion was moved to version 2" in stack.ratchet("history", NAME)
    until(lambda: stack.state().phase == "idle", 60)
    move_champion(stack, "3")
    until(lambda: "not blessed" in stack.ratchet("status"), 30)
    assert stack.predict().headers["x-model-version"] == "2"
    move_champion(stack, "2")
    until(lambda: "not blessed" not in stack.ratchet("status"), 30)
    move_champion(stack, "1")
    until(lambda: stack.champion() == "1", 60)


def test_a_release_by_hand_is_paused_resumed_promoted_and_undone(stack: Running) -> None:
    assert "not blessed" in stack.ratchet("release", NAME, "3", ok=False)
    assert "nothing to pause" in stack.ratchet("release", "pause", NAME, ok=False)
    stack.ratchet("freeze", NAME, "--why", "holidays")
    assert "frozen (holidays)" in stack.ratchet("release", NAME, "2", ok=False)
    assert "holidays" in stack.ratchet("status")
    stack.ratchet("thaw", NAME)
    until(lambda: stack.running() == ["1"], 60)
    started = subprocess.Popen([BIN / "ratchet", "release", NAME, "2"], env=stack.env, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)  # fmt: skip
    until(lambda: stack.state().phase == "trial", 60)
    stack.ratchet("release", "pause", NAME, "--why", "let me look")
    step = stack.stage()
    time.sleep(20)
    assert stack.stage() == step
    assert "in progress" in stack.ratchet("release", NAME, "2", ok=False)
    stack.ratchet("release", "resume", NAME)
    stack.ratchet("release", "promote", NAME, "--why", "I have seen enough")
    output, _ = started.communicate(timeout=60)
    assert "version 2 is champion" in output
    assert "rolling back to version 1" in stack.ratchet("rollback", NAME)
    assert stack.champion() == "1"
    shares = stack.ratchet("history", NAME, "--shares")
    assert "I have seen enough" in shares
    assert "let me look" in stack.ratchet("history", NAME)


def test_a_release_that_is_aborted_leaves_the_champion(stack: Running) -> None:
    until(lambda: stack.running() == ["1"], 60)
    started = subprocess.Popen([BIN / "ratchet", "release", NAME, "2"], env=stack.env, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)  # fmt: skip
    until(lambda: stack.state().phase == "trial", 60)
    assert "version 1 has all traffic" in stack.ratchet("release", "abort", NAME, "--why", "not today")
    output, _ = started.communicate(timeout=30)
    assert "not today" in output
    assert started.returncode == 1
    assert (stack.champion(), stack.predict().headers["x-model-version"]) == ("1", "1")
    until(lambda: stack.running() == ["1"], 60)


def test_a_bento_that_does_not_answer_its_golden_set_never_gets_a_request(stack: Running) -> None:
    """The real bento of version 2 with another golden set, released as the flow would: by its digest, from MLflow."""

    def swap(folder: Path) -> None:
        golden = folder / "src" / "model" / "golden.npz"
        with np.load(golden) as data:
            inputs, outputs = data["inputs"], data["outputs"]
        np.savez(golden, inputs=inputs, outputs=np.roll(outputs, 1, axis=1))

    package = stack.repacked(swap, of="2")
    assert "golden input 0" in stack.release(package, ok=False)
    assert (stack.champion(), stack.predict().headers["x-model-version"]) == ("1", "1")
    until(lambda: stack.running() == ["1"], 60)
    stack.bless(package)
    move_champion(stack, package.version)

    def requested() -> int:
        return sum(e.kind == "requested" and e.body["package"] == to_json(package) for e in stack.ledger.read(NAME))

    until(lambda: requested() == 2, 60)
    until(lambda: stack.alias("champion") == "1", 60)
    time.sleep(5)
    assert requested() == 2, "a request by alias that failed is not repeated"
    assert (stack.alias("champion"), stack.predict().headers["x-model-version"]) == ("1", "1")
    until(lambda: stack.running() == ["1"], 60)


def test_a_bento_whose_bytes_changed_after_its_digest_was_taken_never_starts(stack: Running) -> None:
    package = dataclasses.replace(stack.repacked(lambda folder: None, of="2"), digest="0" * 64)
    assert "its SHA-256 is" in stack.release(package, ok=False)
    assert stack.predict().status_code == 200


def reconciled(stack: Running) -> list[str]:
    """The messages of the runs of the deployment `reconcile`."""
    sent = {"flows": {"name": {"any_": ["reconcile"]}}}
    return [r["state"]["message"] for r in httpx.post(f"{stack.prefect}/api/flow_runs/filter", json=sent).json()]


def test_reconcile_reports_that_nothing_differs_and_emits_events(stack: Running) -> None:

    def run() -> bool:  # one is cancelled if another is under way, or died with Prefect in the last minute
        output = prefect(stack, "deployment", "run", "reconcile/reconcile", "--watch")
        return "Completed" in output and "nothing to change" in reconciled(stack)

    until(run, 180, 5)
    sent = {"filter": {"event": {"prefix": ["ratchet."]}}}

    def kinds() -> set[str]:
        return {e["event"] for e in httpx.post(f"{stack.prefect}/api/events/filter", json=sent).json()["events"]}

    until(lambda: {"ratchet.promoted", "ratchet.failed", "ratchet.steered"} <= kinds())


def test_a_killed_flow_run_is_marked_as_crashed_and_the_next_one_continues(
    stack: Running, pictures, tmp_path: Path
) -> None:
    assert "1500 landed" in stack.ratchet("ingest", NAME, "--next")
    started = subprocess.Popen(
        [BIN / "ratchet", "loop", NAME, "--epochs", "3"],
        env=stack.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert started.stdout
    for line in started.stdout:
        if "epoch 1/3" in line:
            break
    (run,) = [
        p for p in stack.marked() if "PREFECT__FLOW_RUN_ID" in p.environ() and "prefect.engine" in " ".join(p.cmdline())
    ]
    kill(stack.process("worker-cpu"))
    kill(run)
    started.kill()
    output = stack.ratchet("loop", NAME, "--epochs", "3")
    assert "marked as crashed" in output or "as crashed" in str(reconciled(stack)), "or by the deployment before it"
    assert "is champion" in output
    assert "epoch 3/3" in output
    assert stack.champion() == stack.predict().headers["x-model-version"]


def test_the_same_weights_in_a_changed_service_are_released_as_a_new_package(stack: Running) -> None:
    before = stack.state().champion
    assert before
    file = Path(stack.env["RATCHET_RECIPES"]) / "small_fashion.py"
    file.write_text(file.read_text().replace("record_inputs=True", "record_inputs=False"))
    assert "is champion" in stack.ratchet("loop", NAME, "--epochs", "3")
    after = stack.state().champion
    assert after
    assert (after.version, after.key == before.key) == (before.version, False)
    assert stack.predict().headers["x-bento"] == after.tag
    until(lambda: stack.running() == [after.version], 60)
    assert "nothing new" in stack.ratchet("loop", NAME, "--epochs", "3")


def test_a_rollback_to_a_version_that_was_deleted_in_mlflow_stands(stack: Running) -> None:
    """Its alias names nothing then; what it named before was not chosen by a person."""
    target = machine.rollback_target(stack.state())
    assert target
    sent = {"name": NAME, "version": target.version}
    url = f"{stack.mlflow}/api/2.0/mlflow/model-versions/delete"
    assert httpx.request("DELETE", url, json=sent).status_code == 200
    assert f"version {target.version} serves after" in stack.ratchet("rollback", NAME)
    until(lambda: stack.alias("champion") is None)
    until(lambda: "is gone from MLflow" in stack.ratchet("status"))
    time.sleep(5)
    assert (stack.champion(), stack.state().phase) == (target.version, "idle")


def test_no_process_connected_to_another_machine(stack: Running, proxy: Outside) -> None:
    assert proxy.requests == []
    remote = {c.raddr.ip for p in stack.marked() for c in p.net_connections() if c.raddr}
    assert remote <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def test_logs_are_shown_by_name(stack: Running) -> None:
    assert "controller" in stack.ratchet("logs")
    assert "the controller started" in stack.ratchet("logs", "controller", "-n", "100000")
    assert "Choose one of" in stack.ratchet("logs", "nobody", ok=False)
