"""Inserting the next entry is the compare-and-set; a lease ends by itself."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from ratchet.errors import Refusal
from ratchet.fleet import databases
from ratchet.recipe import Releasing
from ratchet.settings import Settings, settings
from ratchet.words import Package
from releases import requests
from releases.ledger import Ledger, Lost, held
from releases.state import Failed


@pytest.fixture
def book(tmp_path: Path) -> Ledger:
    return Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")


def test_the_same_seq_is_written_once(book: Ledger) -> None:
    book.append("r", 1, "requested", "me", {})
    with pytest.raises(Lost):
        book.append("r", 1, "requested", "you", {})
    assert [e.who for e in book.read("r")] == ["me"]
    assert book.recipes() == ["r"]


def test_two_releases_of_one_recipe_never_interleave(home: Path) -> None:
    """Of many that ask at the same moment one is taken, and the others are refused in a sentence."""
    refused: list[Refusal] = []

    def ask(number: int) -> None:
        package = Package("r", str(number), f"k{number}", f"r:v{number}", f"d{number}", "p")
        try:
            requests.release(package, Releasing(), "me", "because")
        except Refusal as refusal:
            refused.append(refusal)

    requests.ledger().say("host:a", {"attempts": {}, "arms": []}, time.time())
    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 7
    assert all("under way" in r.what for r in refused)
    assert [e.kind for e in requests.ledger().read("r")] == ["requested"]


def test_reports_of_a_release_that_is_over_change_nothing(home: Path) -> None:
    requests.Followed().append("r", Failed(9, "late", (), 1.0), "host")
    assert requests.state_of("r").champion is None
    assert requests.ledger().read("r") == [], "what changes nothing is not entered"


def test_without_a_living_host_no_release_begins(home: Path) -> None:
    package = Package("r", "1", "k", "r:v1", "d", "p")
    requests.ledger().say("host:a", {"attempts": {}, "arms": []}, time.time() - 2 * requests.LIVING)
    with pytest.raises(Refusal, match="no host is heard of"):
        requests.release(package, Releasing(), "me", "because")


def test_the_last_word_replaces_the_one_before(book: Ledger) -> None:
    book.say("host:a", {"n": 1}, 1.0)
    book.say("host:a", {"n": 2}, 2.0)
    book.say("hostile:a", {"n": 3}, 3.0)
    assert {name: (said.at, said.body) for name, said in book.heard("host").items()} == {"a": (2.0, {"n": 2})}
    book.forget("host:a")
    assert book.heard("host") == {}


def test_a_lease_is_held_by_one_and_expires(book: Ledger) -> None:
    assert book.lease("run:r", "a", 10, now=0)
    assert not book.lease("run:r", "b", 10, now=5)
    assert book.lease("run:r", "a", 10, now=5), "its holder renews it"
    assert book.lease("run:r", "b", 10, now=16), "a dead holder's ends by itself"
    assert book.holder("run:r", now=17) == "b"


def test_a_held_lease_keeps_its_heartbeat_and_is_given_back(book: Ledger) -> None:
    with held(book, "run:r", "a", seconds=1.5):
        threading.Event().wait(2.5)
        assert not book.lease("run:r", "b", 1)
        with pytest.raises(Refusal, match="is at it"), held(book, "run:r", "b", seconds=0.5):
            pytest.fail("two held it")
    assert book.lease("run:r", "b", 1)


def test_a_newer_format_is_refused_in_a_sentence(book: Ledger) -> None:
    import sqlalchemy as sa

    book.append("r", 1, "requested", "me", {})
    with book._engine.begin() as connection:
        connection.execute(sa.text("update events set format = 99"))
    with pytest.raises(Refusal, match="newer Ratchet"):
        book.read("r")


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


def test_a_run_that_lost_its_lease_may_not_go_on(book: Ledger) -> None:
    with held(book, "run:x", "one", seconds=1.0) as still_mine:
        still_mine()
        book.release("run:x", "one")
        assert book.lease("run:x", "two", 60)
        time.sleep(0.6)
        with pytest.raises(Refusal, match="another may have begun"):
            still_mine()
    assert book.holder("run:x") == "two"
