"""A search over a recipe's space, a warm start, and families on a cluster, each in a real stack."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import HERE, ROOT, free_ports
from tests.stack import NAME, Running, running, with_champion

pytestmark = pytest.mark.stack
AT_ONCE = """
from dataclasses import replace
from pathlib import Path
names = {{"__name__": "small_fashion", "__file__": "{0}"}}
exec(compile(Path("{0}").read_text(), "{0}", "exec"), names)
recipe = replace(names["recipe"], release_plan=names["recipe"].release_plan.with_strategy("all_at_once"))
"""
SEARCH = """
from dataclasses import replace
from models.search import search
from ratchet import recipe as recipes
from ratchet.lake import snapshot
recipe = recipes.load("small-fashion")
training = replace(recipe.training, seed=7, epochs=1)
search(recipe, training, snapshot.take(recipe), 4, lambda line: print(line, flush=True))
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """With a Dask cluster of one worker, which shares the stack's home."""
    own = tmp_path_factory.mktemp("recipes") / "small_fashion.py"
    own.write_text(AT_ONCE.format(HERE / "recipes" / "small_fashion.py"))
    (port,) = free_ports(1)
    at = f"tcp://127.0.0.1:{port}"
    folder = tmp_path_factory.mktemp("stack")
    home = with_champion(folder / "home", tmp_path_factory)
    with (
        running(home, RATCHET_DASK_ADDRESS=at, RATCHET_RECIPES=str(own.parent)) as stack,
        (folder / "dask.log").open("wb") as log,
    ):
        dask = [sys.executable, "-m", "dask"]
        options: dict[str, Any] = {
            "env": stack.env,
            "cwd": folder,
            "stdout": log,
            "stderr": log,
            "start_new_session": True,
        }
        scheduler = [*dask, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
        one = subprocess.Popen(scheduler, **options)
        other = subprocess.Popen([*dask, "worker", at, "--nthreads", "1", "--no-dashboard", "--no-nanny"], **options)
        try:
            yield stack
        finally:
            for process in (other, one):
                process.terminate()
                process.wait(30)


def runs(stack: Running, filter: str) -> list[dict[str, Any]]:
    url = f"{stack.mlflow}/api/2.0/mlflow"
    (experiment,) = httpx.get(f"{url}/experiments/get-by-name", params={"experiment_name": NAME}).json().values()
    body = {"experiment_ids": [experiment["experiment_id"]], "filter": filter}
    matching: list[dict[str, Any]] = httpx.post(f"{url}/runs/search", json=body).json().get("runs", [])
    return matching


def test_a_warm_start_continues_from_the_champion(stack: Running) -> None:
    assert "nothing new" in stack.ratchet("loop", NAME, "--warm-start"), "of the very same data"
    stack.ratchet("ingest", NAME, "--next")
    output = stack.ratchet("loop", NAME, "--warm-start", "--epochs", "1")
    assert "from the weights" in output
    (version,) = [
        line.split()[1] for line in output.splitlines() if line.startswith("version") and "trained in" in line
    ]
    assert "the same weights" in stack.ratchet("reproduce", NAME, version)


def test_families_compete_on_a_dask_cluster_and_a_cold_start_is_compared_with_the_warm_one(
    stack: Running, tmp_path: Path
) -> None:
    from distributed import Client

    # A lambda travels whole, and the scheduler need not import this file.
    done = lambda dask_scheduler: sum(1 for line in dask_scheduler.transition_log if line[2] == "memory")  # noqa: E731
    with Client(stack.env["RATCHET_DASK_ADDRESS"]) as client:
        before = client.run_on_scheduler(done)
        output = stack.ratchet("loop", NAME, "--families", "cnn,transformer", "--epochs", "1")
        assert client.run_on_scheduler(done) >= before + 2, "they were trained there"
    assert "is left out" not in output
    assert "transformer: version" in output
    cold = output.partition("cnn: version ")[2].partition(",")[0]
    assert f"version {cold} is champion" in output
    page = tmp_path / "page.html"
    stack.ratchet("card", NAME, cold, "-o", str(page))
    assert "Warm and cold start" in page.read_text()


def test_the_best_trial_of_a_search_becomes_the_candidate_without_being_trained_again(stack: Running) -> None:
    output = stack.ratchet("loop", NAME, "--trials", "3", "--epochs", "1")
    assert all(f"trial {n}/3: " in output for n in (1, 2, 3))
    assert "best of 3: " in output
    assert "version 5 is champion" in output, "after the first one, the warm one and the two families"
    epochs = output[output.index("best of 3") :].count("epoch ")
    assert epochs, "its epochs are reported again"
    parents = {r["info"]["run_id"] for r in runs(stack, "tags.`ratchet.search` != ''")}
    nested = runs(stack, "tags.`mlflow.parentRunId` != ''")
    assert len(parents) == 1
    assert len(nested) == 3
    assert {t["value"] for r in nested for t in r["data"]["tags"] if t["key"] == "mlflow.parentRunId"} == parents
    filters = {p["value"] for r in nested for p in r["data"]["params"] if p["key"] == "filters"}
    assert filters <= {"16", "32", "48"}
    assert not [f for f in (stack.home / "training").iterdir() if f.name not in (".locks", "searches")], (
        "nothing is left of the others"
    )
    again = stack.ratchet("loop", NAME, "--trials", "3", "--epochs", "1")
    assert "nothing new" in again
    assert "trial" not in again
    assert len(runs(stack, "tags.`mlflow.parentRunId` != ''")) == 3


def test_a_killed_search_resumes_with_the_remaining_trials(stack: Running) -> None:
    options: dict[str, Any] = {"env": stack.env, "cwd": ROOT, "text": True, "stdout": subprocess.PIPE}
    first = subprocess.Popen([sys.executable, "-c", SEARCH], **options)
    assert first.stdout
    assert any("trial 1/4" in line for line in first.stdout)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    done = subprocess.run([sys.executable, "-c", SEARCH], check=True, **options)
    assert "trial 2/4" in done.stdout
    assert "trial 1/4" not in done.stdout
    assert "best of 4" in done.stdout
    rates = [p["value"] for r in runs(stack, "tags.`mlflow.parentRunId` != ''")
             for p in r["data"]["params"] if p["key"] == "learning_rate"]  # fmt: skip
    assert len(set(rates)) == len(rates) >= 7, "no point is tried twice"


SLIM = """
from dataclasses import replace
from models import candidate, registry, variants
from releases import api
version = registry.version("small-fashion", api.state_of("small-fashion").champion.version)
chosen = candidate.read(version)
assert all(v.latency_ms for v in chosen.variants), "the host measured every variant"
other = next(v.name for v in chosen.variants if v.name != "fp32" and not v.packaged)
variants.save(chosen, tuple(replace(v, packaged=v.name == other) for v in chosen.variants))
print(other)
"""


def test_the_chosen_variant_is_evaluated_packaged_and_served(stack: Running) -> None:
    """Another one than the fastest on this machine, so that there is something new to release."""
    before = stack.state().champion
    assert before
    slim = [sys.executable, "-c", SLIM]
    name = subprocess.run(slim, env=stack.env, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
    output = stack.ratchet("loop", NAME, "--trials", "3", "--epochs", "1")
    assert f"{name} (packaged)" in output
    assert "is champion" in output
    after = stack.state().champion
    assert after
    assert (after.version, after.key == before.key) == (before.version, False)
    assert f"the {name} variant" in stack.ratchet("lineage", NAME)
    assert stack.predict().json()["model_version"] == before.version
    assert "nothing new" in stack.ratchet("loop", NAME, "--trials", "3", "--epochs", "1")


def test_families_and_trials_together_are_refused(stack: Running) -> None:
    assert "--families or --trials" in stack.ratchet("loop", NAME, "--trials", "2", "--families", "rnn", ok=False)
