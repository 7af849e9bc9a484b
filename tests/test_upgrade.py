"""What version 0.1.0 wrote is read: a home of its first release, and a lake of four records, one of them refused.

Its artifacts in MLflow are in `artifacts`, the bento's own files in `bento`, and the ledger is a dump in SQL.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from bentos import golden
from ratchet import files, model_card
from ratchet.evaluation.variants import FULL
from ratchet.fleet.gateway import Gateway
from ratchet.fleet.host import Host
from ratchet.lake import ingest, quarantine, snapshot
from ratchet.recipe import Recipe
from ratchet.settings import settings
from ratchet.types import Candidate, EvaluationReport, Package, Variant, from_json
from releases import api, history
from tests.conftest import HERE

WRITTEN = HERE / "homes" / "0.1.0"


@pytest.fixture
def old(home: Path) -> Path:
    """The home as 0.1.0 left it."""
    shutil.copytree(WRITTEN, home)
    with sqlite3.connect(home / "ledger.db") as connection:
        connection.executescript((home / "ledger.sql").read_text())
    connection.close()
    return home


def artifact(name: str) -> dict[str, object]:
    content: dict[str, object] = files.load(WRITTEN / "artifacts" / name) or {}
    return content


def test_the_ledger_is_read_with_its_champion_and_history(old: Path) -> None:
    champion = api.state_of("small-fashion").champion
    assert champion
    assert champion.version == "1"
    entries = api.open_ledger().read("small-fashion")
    assert history.release(entries, "1")["state"] == "released"
    assert [share.split.weights for share in history.shares(entries)][-1] == {champion.revision: 100}


def test_the_host_and_the_gateway_know_the_revision(old: Path) -> None:
    (endpoint,) = Host(settings()).endpoints()
    assert (endpoint.recipe, endpoint.state) == ("small-fashion", "stopped")
    splits, addresses = Gateway(settings()).declared()
    assert splits["small-fashion"].weights == {endpoint.revision: 100}
    assert list(addresses["small-fashion"]) == [endpoint.revision]


def test_the_memoized_results_are_read(old: Path) -> None:
    results = [files.load(path) for path in (old / "stages").glob("*.json")]
    kinds = {EvaluationReport if "checks" in r["result"] else Package: r["result"] for r in results if r}
    assert set(kinds) == {EvaluationReport, Package}
    assert from_json(EvaluationReport, kinds[EvaluationReport]).blessed
    assert from_json(Package, kinds[Package]).version == "1"


def test_the_artifacts_of_the_version_are_read(old: Path) -> None:
    candidate = {name: value for name, value in artifact("candidate.json").items() if name != "format"}
    assert from_json(Candidate, candidate).version == "1"
    report = {name: value for name, value in artifact("evaluation.json").items() if name != "format"}
    assert from_json(EvaluationReport, report).metric
    variants = artifact("variants.json")["variants"]
    assert isinstance(variants, list)
    assert from_json(Variant, variants[0]).name == FULL
    page = model_card.to_html(artifact("model_card.json"), artifact("release.json"))
    assert "small-fashion, version 1" in page
    assert "promoted" in page


def test_the_golden_set_of_the_bento_is_read(old: Path) -> None:
    expected = golden.read(old / "bento")
    assert len(expected.inputs) == len(expected.outputs) == golden.SIZE
    assert json.loads((old / "bento" / "meta.json").read_text())["format"] == files.FORMAT


def test_the_lake_is_read_and_takes_another_batch(old: Path, small: Recipe) -> None:
    taken = snapshot.take(small)
    assert taken.records == 3
    assert sum(map(len, snapshot.load(small, taken).values())) == 3
    (entry,) = quarantine.entries(ingest.lake(small.name))
    assert "not one of the 10 classes" in entry.reason
