"""Inserting the next entry is the compare-and-set; a lease ends by itself."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from ratchet.errors import Refusal
from ratchet.fleet import databases
from ratchet.recipe import ReleasePlan
from ratchet.settings import Settings, settings
from ratchet.types import Package
from releases import api
from releases.ledger import Conflict, Ledger, hold_lease
from releases.state import Failed


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")


def test_the_same_seq_is_written_once(ledger: Ledger) -> None:
    ledger.append("r", 1, "requested", "me", {})
    with pytest.raises(Conflict):
        ledger.append("r", 1, "requested", "you", {})
    assert [e.who for e in ledger.read("r")] == ["me"]
    assert ledger.recipes() == ["r"]


def test_two_releases_of_one_recipe_never_interleave(home: Path) -> None:
    """Of many requests at the same moment one is accepted, and the others are refused in a sentence."""
    refused: list[Refusal] = []

    def request(number: int) -> None:
        package = Package("r", str(number), f"k{number}", f"r:v{number}", f"d{number}", "p")
        try:
            api.release(package, ReleasePlan(), "me", "because")
        except Refusal as refusal:
            refused.append(refusal)

    api.open_ledger().publish("host:a", {"attempts": {}, "endpoints": []}, time.time())
    threads = [threading.Thread(target=request, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 7
    assert all("in progress" in r.what for r in refused)
    assert [e.kind for e in api.open_ledger().read("r")] == ["requested"]


def test_reports_of_a_release_that_is_over_change_nothing(home: Path) -> None:
    api.StateCache().append("r", Failed(9, "late", (), 1.0), "host")
    assert api.state_of("r").champion is None
    assert api.open_ledger().read("r") == [], "what changes nothing is not appended"


def test_without_a_living_host_no_release_begins(home: Path) -> None:
    package = Package("r", "1", "k", "r:v1", "d", "p")
    api.open_ledger().publish("host:a", {"attempts": {}, "endpoints": []}, time.time() - 2 * api.HOST_TIMEOUT)
    with pytest.raises(Refusal, match="no host is alive"):
        api.release(package, ReleasePlan(), "me", "because")


def test_a_status_replaces_the_one_before(ledger: Ledger) -> None:
    ledger.publish("host:a", {"n": 1}, 1.0)
    ledger.publish("host:a", {"n": 2}, 2.0)
    ledger.publish("hostile:a", {"n": 3}, 3.0)
    assert {name: (status.at, status.body) for name, status in ledger.statuses("host").items()} == {
        "a": (2.0, {"n": 2})
    }
    ledger.unpublish("host:a")
    assert ledger.statuses("host") == {}


def test_a_lease_is_held_by_one_and_expires(ledger: Ledger) -> None:
    assert ledger.lease("run:r", "a", 10, now=0)
    assert not ledger.lease("run:r", "b", 10, now=5)
    assert ledger.lease("run:r", "a", 10, now=5), "its holder renews it"
    assert ledger.lease("run:r", "b", 10, now=16), "a dead holder's ends by itself"
    assert ledger.holder("run:r", now=17) == "b"


def test_the_lease_of_a_holder_that_died_before_the_clock_was_set_back_is_free_after_its_time(ledger: Ledger) -> None:
    assert ledger.lease("run:r", "dead", 30, now=time.time() + 7200)
    with hold_lease(ledger, "run:r", "b", seconds=0.5):
        assert ledger.holder("run:r") == "b"


def test_no_lease_is_lost_when_the_clock_is_set_back(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time
    with hold_lease(ledger, "run:r", "a", seconds=1.5) as require_lease:
        monkeypatch.setattr(time, "time", lambda: real() - 7200)
        with pytest.raises(Refusal, match="is working on it"), hold_lease(ledger, "run:r", "b", seconds=0.5):
            pass
        require_lease()
        assert ledger.holder("run:r") == "a"


def test_a_held_lease_keeps_its_heartbeat_and_is_given_back(ledger: Ledger) -> None:
    with hold_lease(ledger, "run:r", "a", seconds=1.5):
        threading.Event().wait(2.5)
        assert not ledger.lease("run:r", "b", 1)
        with pytest.raises(Refusal, match="is working on it"), hold_lease(ledger, "run:r", "b", seconds=0.5):
            pytest.fail("two held it")
    assert ledger.lease("run:r", "b", 1)


def test_a_newer_format_is_refused_in_a_sentence(ledger: Ledger) -> None:
    import sqlalchemy as sa

    ledger.append("r", 1, "requested", "me", {})
    with ledger._engine.begin() as connection:
        connection.execute(sa.text("update events set format = 99"))
    with pytest.raises(Refusal, match="newer Ratchet"):
        ledger.read("r")


@pytest.mark.parametrize(
    "url", ["postgresql://me:secret@db/x", "postgresql+psycopg://me:secret@db", "mysql://me:secret@db/x"]
)
def test_a_wrong_url_is_refused_without_its_password(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATCHET_LEDGER_URL", url)
    settings.cache_clear()
    with pytest.raises(Refusal) as refused:
        settings()
    assert "RATCHET_LEDGER_URL" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_the_servers_databases_stand_beside_the_ledger() -> None:
    config = Settings(ledger_url="postgresql+psycopg://me:secret@db/x?sslmode=require")
    mlflow, prefect = (databases.environment(config, s) for s in ("mlflow", "prefect"))
    assert mlflow == {"MLFLOW_BACKEND_STORE_URI": "postgresql+psycopg://me:secret@db/x_mlflow?sslmode=require"}
    assert prefect == {"PREFECT_API_DATABASE_CONNECTION_URL": "postgresql+asyncpg://me:secret@db/x_prefect?ssl=require"}
    assert databases.environment(Settings(), "prefect") == {}


@pytest.mark.parametrize("url", ["sqlite:////proc/nowhere/l.db", "postgresql://me:secret@127.0.0.1:1/x", "nonsense"])
def test_a_ledger_that_is_not_there_is_a_sentence_without_its_password(url: str) -> None:
    with pytest.raises(Refusal, match="RATCHET_LEDGER_URL") as caught:
        Ledger(url).recipes()
    assert "secret" not in str(caught.value)


def test_a_run_that_lost_its_lease_may_not_go_on(ledger: Ledger) -> None:
    with hold_lease(ledger, "run:x", "one", seconds=1.0) as require_lease:
        require_lease()
        ledger.release_lease("run:x", "one")
        assert ledger.lease("run:x", "two", 60)
        time.sleep(0.6)
        with pytest.raises(Refusal, match="another one may have started"):
            require_lease()
    assert ledger.holder("run:x") == "two"
