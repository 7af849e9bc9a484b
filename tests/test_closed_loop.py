"""The loop closes itself: what is served is watched, and harm starts one retraining, which cures it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from ratchet import recipe as recipes
from ratchet.lake import table
from releases import api, causes
from tests.conftest import HERE
from tests.files import holds
from tests.stack import BIN, NAME, Running, cmdline, flow_processes, kill, running, until, with_champion
from tests.traffic import Answered, collect, effects, label, loss, send, start_collecting

pytestmark = pytest.mark.stack
FIRST = 10_000
"""The first of the training set's images that nobody trained on."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = with_champion(tmp_path_factory.mktemp("stack") / "home", tmp_path_factory)
    with running(home, RATCHET_RECIPES=f"{HERE / 'recipes'}:{HERE / 'recipes_kinds'}") as stack:
        yield stack


@pytest.fixture(scope="module")
def unseen() -> tuple[np.ndarray, list[str]]:
    """Images [N, 28, 28] that are in no batch, and the names of their classes."""
    from ratchet.kinds.image import sources
    from ratchet.lake.fetch import fetch_feed

    recipe = recipes.load("fashion-mnist")
    images, labels = fetch_feed(recipe, recipe.batches[0])
    assert labels
    classes = recipe.answers.classes
    names = [classes[number] for number in sources.idx(labels)[FIRST : FIRST + 4000]]
    return sources.idx(images)[FIRST : FIRST + 4000], names


def test_without_drift_nothing_is_noticed_and_nothing_starts(
    stack: Running, unseen: tuple[np.ndarray, list[str]]
) -> None:
    images, names = unseen[0][:400], unseen[1][:400]
    answers = send(stack, NAME, "images", images.tolist())
    label(stack, NAME, [*answers, Answered("unknown", 0, "")], [*names, names[0]])
    state = collect(stack, NAME)
    watched = state["watched"]
    assert (watched["answered"], watched["findings"], state["causes"]) == (400, [], [])
    assert state["unjoined_labels"] == {"waiting": 1, "given_up": 0}
    assert "1 labels wait for a prediction that was not logged" in stack.ratchet("watch", NAME)
    assert watched["measured"]["records"] == 200
    (day,) = state["performance"]
    assert day["labels"] == 400
    assert day["loss"] == pytest.approx(loss(answers, names))
    assert day["low"] < watched["promised"] < day["high"]
    assert "no harm" in stack.ratchet("status")


def test_a_benign_change_is_named_and_starts_nothing(stack: Running, unseen: tuple[np.ndarray, list[str]]) -> None:
    images, names = unseen[0][400:800], unseen[1][400:800]
    answers = send(stack, NAME, "images", (images * 0.85).astype(np.uint8).tolist())
    label(stack, NAME, answers, names)
    state = collect(stack, NAME)
    assert effects(state) == {("changed", "benign")}, state["watched"]
    assert {"maximum"} <= {finding["subject"] for finding in state["watched"]["findings"]}
    assert state["causes"] == []


def test_harm_without_labels_is_estimated_and_waits_for_labels(
    stack: Running, unseen: tuple[np.ndarray, list[str]]
) -> None:
    answers = send(stack, NAME, "images", dark(unseen[0][800:1200]).tolist())
    before = loss(answers, unseen[1][800:1200])
    state = collect(stack, NAME)
    assert {("estimated", "harmful"), ("changed", "harmful")} <= effects(state), (before, state["watched"])
    assert state["causes"] == []
    assert "harmful" in stack.ratchet("status")


def dark(images: np.ndarray) -> np.ndarray:
    """Each a little otherwise: what is the same in every request looks like a broken source."""
    factors = 0.1 + 0.1 * (np.arange(len(images)) % 7) / 6
    return (images * factors[:, None, None]).astype(np.uint8)


def test_a_collector_that_is_killed_again_and_again_collects_each_row_once(
    stack: Running, unseen: tuple[np.ndarray, list[str]]
) -> None:
    """Killed at some moment of its work, three times; and so is a bento."""
    images, names = unseen[0][1200:2000], unseen[1][1200:2000]
    answers = send(stack, NAME, "images", dark(images).tolist())
    label(stack, NAME, answers[:600], names[:600])
    for seconds in (1.0, 2.0, 4.0):
        before = set(flow_processes(stack))
        start_collecting(stack)
        until(lambda before=before: set(flow_processes(stack)) - before, 60)
        time.sleep(seconds)
        for process in set(flow_processes(stack)) - before:
            kill(process)
    for process in (p for p in stack.marked() if "bentoml" in " ".join(cmdline(p)) and "serve" in cmdline(p)):
        kill(process)
    until(lambda: stack.predict().status_code == 200, 60)
    state = collected_whole(stack)
    rows = table.read(stack.home / "lake" / NAME / "predictions", ["request", "row", "origin", "process", "number"])
    assert rows is not None
    keys = [(row["process"], row["number"]) for row in rows.to_pylist()]
    assert len(keys) == len(set(keys)), "each row once"
    lost = table.read(stack.home / "lake" / NAME / "lost")
    lost_rows = sum(lost["lost"].to_pylist()) if lost is not None else 0
    expected = {(answer.request, answer.row) for answer in answers}
    present = {(row["request"], row["row"]) for row in rows.to_pylist()}
    assert len(expected - present) <= lost_rows, "what is missing is counted"
    joined = table.read(stack.home / "lake" / NAME / "outcomes", ["request", "row"])
    assert joined is not None
    pairs = [(row["request"], row["row"]) for row in joined.to_pylist()]
    assert len(pairs) == len(set(pairs)) == 400 + 400 + 600, "each label once"
    assert state["watched"]["findings"]


def collected_whole(stack: Running) -> dict[str, Any]:
    """What is known once a run of the collector came through; killed runs may hold its place until they are found."""
    env = {**stack.env, "PREFECT_API_URL": f"{stack.prefect}/api"}
    subprocess.run([BIN / "prefect", "deployment", "run", "reconcile/reconcile", "--watch"], env=env, check=True,
                   capture_output=True)  # fmt: skip
    until(lambda: start_collecting(stack).wait(120) == 0, 240, 2.0)
    state: dict[str, Any] = json.loads(stack.ratchet("watch", NAME, "--json"))
    return state


def test_harm_starts_one_retraining_by_itself_and_a_version_that_has_recovered_is_released(
    stack: Running, unseen: tuple[np.ndarray, list[str]]
) -> None:
    """Also if the run that has the cause is killed: another one gets it."""
    before = stack.champion()
    until(lambda: causes.read(stack.ledger, NAME)[-1].run, 120)
    (retraining,) = flow_processes(stack)
    kill(retraining)
    until(lambda: not [run for run in retrainings(stack) if run["state"]["type"] == "RUNNING"], 60, 1.0)
    collected_whole(stack)
    until(lambda: stack.champion() != before, 300, 1.0)
    until(lambda: stack.state().phase == "idle", 60)
    images, names = dark(unseen[0][2000:2400]), unseen[1][2000:2400]
    answers = send(stack, NAME, "images", images.tolist())
    label(stack, NAME, answers, names)
    state = collect(stack, NAME)
    assert not any(effect == "harmful" for _, effect in effects(state)), state["watched"]
    (cause,) = state["causes"]
    assert (cause["kind"], cause["result"], cause["attempts"]) == ("harm", "released", 2)
    started = [(run["parameters"]["cause"], run["state"]["type"]) for run in retrainings(stack)]
    assert sorted(started) == [(cause["id"], "COMPLETED"), (cause["id"], "CRASHED")], "one cause is done once"


def retrainings(stack: Running) -> list[dict[str, Any]]:
    """The runs of the loop that a cause has started."""
    runs = stack.call_prefect("POST", "flow_runs/filter", {"flows": {"name": {"any_": ["retrain-and-release"]}}})
    return [run for run in runs if run["parameters"].get("cause")]


def test_a_person_is_forgotten_everywhere(stack: Running, unseen: tuple[np.ndarray, list[str]]) -> None:
    """In no file of log, lake, ledger or bento is what they sent, nor their id."""
    images, names = unseen[0][3000:3004], unseen[1][3000:3004]
    answers = send(stack, NAME, "images", images.tolist(), subject="Ann-7c2e")
    label(stack, NAME, answers, names)
    collect(stack, NAME)
    assert files_with(stack, *(image.tobytes() for image in images))
    output = stack.ratchet("forget", NAME, "--subject", "Ann-7c2e", "--yes")
    assert "predictions: 4, labels: 4" in output
    ids = {answer.request.encode() for answer in answers}
    needles = (*(image.tobytes() for image in images), b"Ann-7c2e")
    assert files_with(stack, *needles) == []
    left = {name for name in files_with(stack, *ids) if "_delta_log" not in name}
    assert all(name.startswith(f"lake/{NAME}/forgotten/") for name in left), "the list of what is forgotten alone"
    send(stack, NAME, "images", images.tolist(), subject="Ann-7c2e")
    collect(stack, NAME)
    assert files_with(stack, *needles) == [], "nor is what arrives later"


FLIGHTS = "quick-flights"
APRIL, AUGUST = 78_015, 179_522
"""Flights of these months, in the order of time."""


def flights(stack: Running, start: int, stop: int) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows as they are known at the scheduled departure, and what became of the flights."""
    (path,) = (stack.home / "data").glob(f"{FLIGHTS}-*.parquet")
    rows = pq.read_table(path).slice(start, stop - start)
    features = rows.drop_columns(["flight", "scheduled", "dep_delay", "arr_delay", "air_time", "late", "minutes"])
    return features.to_pylist(), rows["late"].to_pylist()


def test_flights_in_their_order_of_time_start_one_retraining_once_their_year_does_harm(stack: Running) -> None:
    """A model of two months holds in April, does harm in August, and one that has seen some of August does better."""
    assert "first release" in stack.ratchet("loop", FLIGHTS)
    assert collect(stack, FLIGHTS)["watched"]["answered"] == 0, "Ratchet's own requests are no caller's"
    april, became = flights(stack, APRIL, APRIL + 4000)
    label(stack, FLIGHTS, send(stack, FLIGHTS, "rows", april, at_once=500), became)
    state = collect(stack, FLIGHTS)
    assert effects(state) == {("changed", "benign")}, state["watched"]
    assert state["causes"] == []
    august, became = flights(stack, AUGUST, AUGUST + 3000)
    later, became_later = flights(stack, AUGUST + 5000, AUGUST + 8000)
    answers = send(stack, FLIGHTS, "rows", august, at_once=500)
    before = loss(send(stack, FLIGHTS, "rows", later, at_once=500), became_later)
    label(stack, FLIGHTS, answers, became)
    state = collect(stack, FLIGHTS)
    assert ("measured", "harmful") in effects(state), state["watched"]
    serving = api.state_of(FLIGHTS, stack.ledger).champion
    until(lambda: api.state_of(FLIGHTS, stack.ledger).champion != serving, 400, 1.0)
    answers = send(stack, FLIGHTS, "rows", later, at_once=500)
    assert loss(answers, became_later) < before - 0.02, "the same flights, and fewer wrong answers"
    label(stack, FLIGHTS, answers, became_later)
    state = collect(stack, FLIGHTS)
    assert [(cause["kind"], cause["result"]) for cause in state["causes"]] == [("harm", "released")], state


def files_with(stack: Running, *needles: bytes) -> list[str]:
    folders = [stack.home / name for name in ("predictions", "lake", "bentos", "mlflow", "stages", "gx")]
    paths = [path for folder in folders for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    paths += list(stack.home.glob("ledger.db*"))
    return [str(path.relative_to(stack.home)) for path in paths if holds(path, needles)]


def test_harm_by_a_release_is_rolled_back_first_where_a_former_champion_does_better(
    stack: Running, unseen: tuple[np.ndarray, list[str]]
) -> None:
    """The first version, which has not seen dark images, is released again by hand."""
    better = stack.champion()
    stack.ratchet("release", NAME, "1")
    assert stack.champion() == "1"
    images, names = dark(unseen[0][2400:2700]), unseen[1][2400:2700]
    label(stack, NAME, send(stack, NAME, "images", images.tolist()), names)
    state = collect(stack, NAME)
    assert stack.champion() == better, state
    assert "does better" in stack.ratchet("history", NAME)
    promoted = max(entry.at for entry in stack.ledger.read(NAME) if entry.kind == "promoted")
    assert causes.read(stack.ledger, NAME)[-1].at > promoted, "and only then a retraining starts"


def test_a_batch_in_the_inbox_starts_the_loop_of_a_recipe_that_serves_nothing_yet(stack: Running) -> None:
    """Whatever lies beside it. It is the last test here, since that loop then runs."""
    inbox = stack.home / "inbox" / "quick-spam"
    inbox.mkdir(parents=True, exist_ok=True)
    (inbox / "link.csv").symlink_to("nowhere")
    (inbox / "mails.csv").write_text("text,label\n" + "".join(f"call {n} now,spam\n" for n in range(50)))
    for path in inbox.iterdir():
        os.utime(path, (time.time() - 60,) * 2, follow_symlinks=False)
    collect(stack, NAME)
    (cause,) = causes.read(stack.ledger, "quick-spam")
    assert cause.kind == "batch"
    (why,) = (inbox / ".refused").glob("*.why.txt")
    assert "it is a link" in why.read_text()
    assert [path.name.partition("-")[2] for path in (inbox / ".taken").iterdir()] == ["mails.csv"]
