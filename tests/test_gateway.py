"""The gateway's verbs on a real Envoy, with small servers for bentos."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from ratchet.fleet.gateway import Count, Gateway, _counts
from ratchet.settings import Settings
from ratchet.types import Split
from tests.bentos import Bento, enveloped, until
from tests.conftest import free_ports


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    ports = free_ports(2)
    with enveloped(Settings(home=tmp_path, gateway_port=ports[0], envoy_admin_port=ports[1])) as gateway:
        yield gateway


def call(gateway: Gateway, times: int = 1) -> Counter[str]:
    url = f"{gateway.settings.gateway_url}/r/predict"
    return Counter(httpx.post(url, json={}).text for _ in range(times))


def split(gateway: Gateway, wanted: Split) -> None:
    gateway.set_split("r", wanted)
    until(lambda: gateway.get_routes().splits.get("r") == wanted)


def test_traffic_is_split_mirrored_counted_and_turned_back(gateway: Gateway) -> None:
    old, new = Bento("old"), Bento("new", status=500)
    with old.served() as a, new.served() as b:
        gateway.set_endpoints("r", {"v1-a": (a,), "v2-b": (b,)})
        until(lambda: gateway.get_routes().healthy.get(("r", "v2-b")) == {b})
        split(gateway, Split({"v1-a": 100}, "v2-b", 50))
        assert call(gateway, 100) == {"old": 100}, "the responses of a shadow are discarded"
        until(lambda: 25 < sum(new.requests.values()) < 75)
        assert set(new.ids) <= set(old.ids), "a mirrored request is known by its id"
        split(gateway, Split({"v1-a": 50, "v2-b": 50}))
        answers = call(gateway, 100)
        assert 25 < answers["new"] < 75
        mirrored = sum(new.requests.values()) - answers["new"]
        until(lambda: gateway.get_routes().counts["r", "v2-b"].failed == answers["new"] + mirrored)
        counts = gateway.get_routes().counts
        assert (counts["r", "v1-a"].requests, counts["r", "v1-a"].failed) == (100 + answers["old"], 0)
        split(gateway, Split({"v1-a": 100}))
        gateway.set_endpoints("r", {"v1-a": (a,)})
        until(lambda: ("r", "v2-b") not in gateway.get_routes().healthy)
        assert call(gateway, 20) == {"old": 20}


def test_requests_in_flight_are_counted(gateway: Gateway) -> None:
    slow = Bento("slow", seconds=1.0)
    with slow.served() as a:
        gateway.set_endpoints("r", {"v1-a": (a,)})
        until(lambda: gateway.get_routes().healthy.get(("r", "v1-a")))
        split(gateway, Split({"v1-a": 100}))
        thread = threading.Thread(target=call, args=(gateway,))
        thread.start()
        until(lambda: gateway.get_routes().active["r", "v1-a"] == 1)
        thread.join()
        until(lambda: gateway.get_routes().active["r", "v1-a"] == 0)


def test_an_endpoint_that_dies_costs_no_request_while_another_lives(gateway: Gateway) -> None:
    one, two = Bento("one"), Bento("two")
    with two.served() as b:
        with one.served() as a:
            gateway.set_endpoints("r", {"v1-a": (a, b)})
            until(lambda: len(gateway.get_routes().healthy.get(("r", "v1-a"), ())) == 2)
            split(gateway, Split({"v1-a": 100}))
            assert set(call(gateway, 20)) == {"one", "two"}
        answers = call(gateway, 40)
        assert answers == {"two": 40}
        assert gateway.get_routes().counts["r", "v1-a"].failed > 0, "that it was sent again is counted"


@pytest.mark.parametrize("wanted", [Split({"v1-a": 50, "v2-b": 50}), Split({"v2-b": 100}, "v1-a", 10, "v1-a")])
def test_a_revision_that_dies_costs_no_request_while_another_may_answer(gateway: Gateway, wanted: Split) -> None:
    old, new = Bento("old"), Bento("new")
    with old.served() as a:
        with new.served() as b:
            gateway.set_endpoints("r", {"v1-a": (a,), "v2-b": (b,)})
            until(lambda: gateway.get_routes().healthy.get(("r", "v2-b")) == {b})
            split(gateway, wanted)
            before = call(gateway, 40)
            assert before["new"] > 8
            counted = gateway.get_routes().counts["r", "v2-b"]
            assert (counted.requests, counted.failed) == (before["new"], 0)
        assert call(gateway, 40) == {"old": 40}, "at once, before the gateway finds it dead"
        held = gateway.get_routes().counts["r", "v2-b"]
        assert held.requests >= held.failed > 0, "it is held against the revision that failed"
        until(lambda: not gateway.get_routes().healthy["r", "v2-b"])
        assert call(gateway, 40) == {"old": 40}, "and after it"


def at_once(gateway: Gateway, number: int) -> Counter[str]:
    """As many callers at the same moment, each with one request."""
    with ThreadPoolExecutor(number) as pool:
        return sum(pool.map(lambda _: call(gateway), range(number)), Counter())


def test_a_crowd_that_a_revision_breaks_off_is_answered_by_the_other(gateway: Gateway) -> None:
    old, new = Bento("old"), Bento("new")
    with old.served() as a, new.served() as b:
        gateway.set_endpoints("r", {"v1-a": (a,), "v2-b": (b,)})
        until(lambda: gateway.get_routes().healthy.get(("r", "v2-b")) == {b})
        split(gateway, Split({"v2-b": 100}, fallback="v1-a"))
        new.dead = True
        assert at_once(gateway, 24) == {"old": 24}


def test_another_host_of_the_revision_gets_the_request_before_the_other_revision(gateway: Gateway) -> None:
    one, two, new = Bento("one"), Bento("two"), Bento("new")
    with one.served() as a, two.served() as b, new.served() as c:
        gateway.set_endpoints("r", {"v1-a": (a, b), "v2-b": (c,)})
        until(lambda: len(gateway.get_routes().healthy.get(("r", "v1-a"), ())) == 2)
        until(lambda: gateway.get_routes().healthy.get(("r", "v2-b")) == {c})
        split(gateway, Split({"v1-a": 99, "v2-b": 1}))
        one.dead = True
        answers = call(gateway, 30)
        assert answers["two"] >= 27
        assert answers["one"] == 0


def test_a_callers_fault_is_counted_once_for_the_revision_that_it_was_meant_for(gateway: Gateway) -> None:
    old, new = Bento("old", status=400), Bento("new", status=400)
    with old.served() as a, new.served() as b:
        gateway.set_endpoints("r", {"v1-a": (a,), "v2-b": (b,)})
        until(lambda: gateway.get_routes().healthy.get(("r", "v2-b")) == {b})
        split(gateway, Split({"v2-b": 100}, fallback="v1-a"))
        call(gateway, 10)
        until(lambda: gateway.get_routes().counts["r", "v2-b"] == Count(10, 0, 10))
        new.dead = True
        until(lambda: not gateway.get_routes().healthy["r", "v2-b"])
        call(gateway, 10)
        counted = gateway.get_routes().counts["r", "v2-b"]
        assert counted.refused <= counted.requests


def test_with_no_revision_left_callers_get_a_sentence(gateway: Gateway) -> None:
    with Bento("one").served() as a:
        gateway.set_endpoints("r", {"v1-a": (a,)})
        until(lambda: gateway.get_routes().healthy.get(("r", "v1-a")))
        split(gateway, Split({"v1-a": 100}))
    answer = httpx.post(f"{gateway.settings.gateway_url}/r/predict", json={})
    assert answer.status_code == 503
    assert answer.json()["error"] == "no process can answer at the moment"
    assert answer.json()["which"] == "/r/predict", "as the caller wrote it"
    assert answer.json()["next"] == "Try again in a few seconds"
    gateway.finalize("r")
    until(lambda: httpx.post(f"{gateway.settings.gateway_url}/r/predict", json={}).status_code == 404)


def test_what_was_declared_survives_and_the_first_releases_file_is_read(tmp_path: Path) -> None:
    gateway = Gateway(Settings(home=tmp_path))
    gateway.reconcile()
    gateway.set_endpoints("r", {"v1-a": (("127.0.0.1", 1),)})
    gateway.set_split("r", Split({"v1-a": 100}, "v1-a", 5))
    assert Gateway(Settings(home=tmp_path)).declared() == (
        {"r": Split({"v1-a": 100}, "v1-a", 5)}, {"r": {"v1-a": (("127.0.0.1", 1),)}},
    )  # fmt: skip
    gateway.set_split("r", Split({"v1-a": 100}, "v1-a", 5, "v1-a"))
    assert gateway.declared()[0]["r"].fallback == "v1-a"


def test_what_the_gateway_refuses_itself_is_no_failure_of_the_revision() -> None:
    """As Envoy counted 480 requests at once, of which 224 found no place; one of the others failed."""
    values = {"rq_completed": 480, "rq_5xx": 225, "rq_4xx": 3, "rq_pending_overflow": 224}
    stats = [{"name": f"cluster.r_v1-a.upstream_{name}", "value": value} for name, value in values.items()]
    assert _counts({"stats": stats}) == {("r", "v1-a"): Count(256, 1, 3)}
