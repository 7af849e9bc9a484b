"""A replay on the real stack: what nobody changed starts nothing, and harm is noticed, learnt and gone."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest

from ratchet.fleet import processes
from ratchet.settings import Settings
from tests.conftest import HERE
from tests.stack import BIN

pytestmark = pytest.mark.stack
OPTIONS = ("--scenario", "darker", "--rows", "1600", "--days", "60", "--triggers", "harm", "--policies", "never,loop")
"""Two periods as usual, then four with dark images."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("replay") / "home"


def replay(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("RATCHET_", "PREFECT_", "MLFLOW_"))}
    env |= {"RATCHET_HOME": str(home), "RATCHET_RECIPES": str(HERE / "recipes"), "RATCHET_TICK_SECONDS": "1"}
    command = [BIN / "ratchet", "replay", "small-fashion", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=env)


@pytest.fixture(scope="module")
def result(home: Path) -> dict[str, Any]:
    done = replay(home, *OPTIONS, "--json")
    assert done.returncode == 0, done.stderr
    content: dict[str, Any] = json.loads(done.stdout)
    return content


def test_without_a_change_nothing_starts_and_harm_starts_one_retraining_that_cures_it(result: dict[str, Any]) -> None:
    replayed = result["replay"]
    periods = replayed["periods"]
    before = [period for period in periods if period["ends"] <= replayed["changes"]]
    after = periods[len(before) :]
    assert len(before) >= 1
    assert [(period["started"], period["champion"]) for period in before] == [([], "1")] * len(before)
    harmful = [any(finding["effect"] == "harmful" for finding in period["findings"]) for period in periods]
    assert not any(harmful[: len(before)])
    first = harmful.index(True)
    assert [(run["kind"], run["result"]) for run in periods[first]["started"]] == [("harm", "released")]
    assert sum(map(len, (period["started"] for period in periods))) == 1, "once"
    losses = [period["wrong"] / period["answered"] for period in after]
    assert losses[-1] < losses[first - len(before)] - 0.1, "it has recovered"
    assert any("called harmful" in sentence for sentence in result["sentences"])
    policies = {each["policy"]: sum(each["wrong"]) for each in result["policies"]}
    totals = {each["name"]: each for each in result["totals"]}
    assert totals["the real stack"]["answers"] == sum(period["answered"] for period in periods)
    assert policies["loop"] < policies["never"]


def test_a_replay_leaves_a_picture_and_no_process_or_stack(home: Path, result: dict[str, Any]) -> None:
    folder = home / "replays" / "small-fashion"
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "darker"]
    assert (folder / "darker" / "replay.png").read_bytes().startswith(b"\x89PNG")
    marker = Settings(home=folder / "home").marker
    assert [process for process in processes.marked(marker) if process.status() != psutil.STATUS_ZOMBIE] == []
    assert not (home / "ledger.db").exists(), "the user's own ledger is not touched"


def test_another_policy_is_compared_later_without_a_stack_beside_what_it_did(
    home: Path, result: dict[str, Any]
) -> None:
    done = replay(home, *OPTIONS[:-1], "always fire", "--offline", "--json")
    assert done.returncode == 0, done.stderr
    again = json.loads(done.stdout)
    assert again["replay"] == result["replay"]
    assert again["policies"][0] == result["policies"][0], "what was compared before is kept"
    assert [each["policy"] for each in again["policies"]] == ["never", "always fire", "loop"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--scenario", "price-shock"), "there is no scenario 'price-shock' for the kind image"),
        (("--policies", "sometimes"), "there is no policy 'sometimes'"),
        (("--triggers", "boredom"), "there is no trigger 'boredom'"),
        (("--from", "."), "there is no lake in this folder"),
        (("--scenario", "year", "--rows", "300"), "a year has its own --rows"),
        (("--offline", "--keep"), "--keep is for a stack, and --offline has none"),
        (("--offline", "--policies", ""), "nothing would be compared"),
    ],
)
def test_what_cannot_be_replayed_is_refused_before_a_stack_starts(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = replay(tmp_path / "home", *arguments)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
