"""Whatever callers do to the gateway: slow ones, plain probes, wrong methods, pages in a browser. A real Envoy."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from ratchet.endpoints import LARGE_BODY, MAX_BODY
from ratchet.fleet.gateway import Gateway, Rejected
from ratchet.settings import Settings
from ratchet.types import Split
from tests.bentos import Bento, enveloped, until
from tests.conftest import free_ports
from tests.pages import fetched

ORIGIN = "https://shop.example.org"


@pytest.fixture(scope="module")
def page() -> Iterator[str]:
    """The origin of a page, which browsers let ask a server on loopback since it comes from there."""
    with Bento("a page").served() as (host, port):
        yield f"http://{host}:{port}"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, page: str) -> Iterator[Gateway]:
    """It serves the recipe `r` by two endpoints and the recipe `down` by none."""
    ports = free_ports(2)
    home = tmp_path_factory.mktemp("home")
    config = Settings(home=home, gateway_port=ports[0], envoy_admin_port=ports[1], allowed_origins=f"{ORIGIN},{page}")
    with enveloped(config) as gateway, Bento("one").served() as a, Bento("two").served() as b:
        gateway.set_endpoints("r", {"v1-a": (a, b)})
        gateway.set_endpoints("down", {"v1-b": (("127.0.0.1", free_ports(1)[0]),)})
        gateway.set_split("r", Split({"v1-a": 100}))
        gateway.set_split("down", Split({"v1-b": 100}))
        until(lambda: len(gateway.get_routes().healthy.get(("r", "v1-a"), ())) == 2)
        until(lambda: "down" in gateway.get_routes().splits)
        until(lambda: httpx.get(f"{config.gateway_url}/v2/health/ready").status_code == 200)
        yield gateway


SLOW = {
    "headers alone": (b"POST /r/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n", b""),
    "half a body": (b"POST /r/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n" + b"x" * 50, b""),
    "a byte a second": (b"POST /r/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n", b"x"),
    "chunks without an end": (
        b"POST /r/predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n",
    ),
}  # fmt: skip


@contextlib.contextmanager
def slow_callers(port: int, number: int, path: str = "/r/predict") -> Iterator[None]:
    """As many sockets whose requests do not end, of each kind in turn."""
    over, sockets = threading.Event(), []
    for index in range(number):
        first, again = list(SLOW.values())[index % len(SLOW)]
        sockets.append((socket.create_connection(("127.0.0.1", port)), again))
        sockets[-1][0].sendall(first.replace(b"/r/predict", path.encode()))

    def drip() -> None:
        while not over.wait(1):
            for caller, again in sockets:
                with contextlib.suppress(OSError):
                    caller.sendall(again)

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        for caller, _ in sockets:
            caller.close()


def test_forty_slow_callers_keep_nobody_waiting(gateway: Gateway) -> None:
    url = f"{gateway.settings.gateway_url}/r/predict"
    with slow_callers(gateway.settings.gateway_port, 40):
        time.sleep(1)
        assert not sum(gateway.get_routes().active.values()), "no bento hears of a request that is not complete"
        answers = Counter(httpx.post(url, json={}, timeout=5).status_code for _ in range(100))
    assert answers == {200: 100}


def test_a_body_that_is_too_large_is_refused_at_the_gateway_in_our_shape(gateway: Gateway) -> None:
    answer = httpx.post(f"{gateway.settings.gateway_url}/r/predict", content=b"x" * (MAX_BODY + 1))
    assert answer.status_code == 413
    assert answer.json() == {
        "error": "the body is larger than 8 MB",
        "which": "/r/predict",
        "next": "Send less at once",
    }
    assert httpx.post(f"{gateway.settings.gateway_url}/r/predict", content=b"x" * MAX_BODY).status_code == 200


def raw(port: int, request: bytes) -> tuple[bytes, bytes]:
    """The head and the body of the answer to these very bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as caller:
        caller.sendall(request)
        answer = b""
        while part := caller.recv(65536):
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body


@pytest.mark.parametrize(
    "path", [b"/v2/health/ready", b"/v2/health/live", b"/v2/models/r/ready", b"/r/v2/health/ready"]
)
def test_a_probe_of_http_1_0_without_a_host_is_answered(gateway: Gateway, path: bytes) -> None:
    """HAProxy's and a kubelet's kind of probe."""
    head, _ = raw(gateway.settings.gateway_port, b"GET " + path + b" HTTP/1.0\r\n\r\n")
    assert head.split()[1] == b"200"


def test_the_gateway_is_ready_while_any_model_is_and_each_model_speaks_for_itself(gateway: Gateway) -> None:
    url = gateway.settings.gateway_url
    answer = httpx.get(f"{url}/v2/health/ready")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == {"ready": True}, "as the protocol has it; KServe's client reads it"
    assert httpx.get(f"{url}/v2/models/r/ready").status_code == 200
    assert httpx.get(f"{url}/v2/models/down/ready").status_code == 503


def test_the_gateway_is_not_ready_when_no_model_is(tmp_path: Path) -> None:
    ports = free_ports(3)
    with enveloped(Settings(home=tmp_path, gateway_port=ports[0], envoy_admin_port=ports[1])) as gateway:
        url = f"{gateway.settings.gateway_url}/v2/health/ready"
        until(lambda: httpx.get(url).status_code == 200)
        gateway.set_endpoints("r", {"v1-a": (("127.0.0.1", ports[2]),)})
        gateway.set_split("r", Split({"v1-a": 100}))
        until(lambda: httpx.get(url).status_code == 503)


OWN = {
    "/": {"name": "ratchet", "models": [
        {"name": "down", "page": "/down/", "protocol": "/v2/models/down"},
        {"name": "r", "page": "/r/", "protocol": "/v2/models/r"},
    ]},
    "/v2/models": {"models": ["down", "r"]},
    "/v2/models/": {"models": ["down", "r"]},
}  # fmt: skip


@pytest.mark.parametrize("path", OWN)
def test_the_gateway_lists_what_is_served(gateway: Gateway, path: str) -> None:
    answer = httpx.get(gateway.settings.gateway_url + path)
    assert (answer.status_code, answer.json()) == (200, OWN[path])


def test_the_repository_index_names_each_version_that_serves(gateway: Gateway) -> None:
    import tritonclient.http as triton

    index = triton.InferenceServerClient(f"127.0.0.1:{gateway.settings.gateway_port}").get_model_repository_index()
    assert [(model["name"], model["version"]) for model in index] == [("down", "1"), ("r", "1")]


@pytest.mark.parametrize(
    "path",
    ["cudasharedmemory/status", "systemsharedmemory/region/a/register", "trace/setting", "logging",
     "repository/models/r/load", "models/r/trace/setting"],
)  # fmt: skip
def test_what_tritons_clients_may_call_beside_is_refused_with_a_sentence(gateway: Gateway, path: str) -> None:
    answer = httpx.post(f"{gateway.settings.gateway_url}/v2/{path}", json={})
    assert (answer.status_code, "not supported" in answer.json()["error"]) == (501, True)


def test_a_recipe_may_have_a_long_name(tmp_path: Path) -> None:
    name, ports = "r-" * 31 + "r", free_ports(2)
    with (
        enveloped(Settings(home=tmp_path, gateway_port=ports[0], envoy_admin_port=ports[1])) as gateway,
        Bento("one").served() as one,
    ):
        gateway.set_endpoints(name, {"v1-a": (one,)})
        gateway.set_split(name, Split({"v1-a": 100}))
        until(lambda: httpx.post(f"{gateway.settings.gateway_url}/{name}/predict", json={}).status_code == 200)


def test_what_is_not_served_gets_a_sentence(gateway: Gateway) -> None:
    nowhere = httpx.get(f"{gateway.settings.gateway_url}/nowhere")
    assert (nowhere.status_code, nowhere.json()["error"]) == (404, "nothing is served at this path")
    every = httpx.get(f"{gateway.settings.gateway_url}/v2/models/stats")
    assert (every.status_code, every.json()["error"][:10]) == (501, "statistics")


READ = "GET, HEAD, OPTIONS"
DIRECT = {"/": READ, "/v2": READ, "/v2/": READ, "/v2/health/live": READ, "/v2/health/ready": READ,
          "/v2/health/ready?verbose": READ, "/v2/models": READ, "/v2/repository/index": "POST, OPTIONS"}  # fmt: skip


@pytest.mark.parametrize("path", DIRECT)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "PUT", "OPTIONS"])
def test_another_method_on_an_answer_of_the_gateways_own_is_405_and_names_the_right_ones(
    gateway: Gateway, path: str, method: str
) -> None:
    answer = httpx.request(method, gateway.settings.gateway_url + path)
    if method == "OPTIONS":
        assert (answer.status_code, answer.headers["allow"]) == (204, DIRECT[path])
    elif method in DIRECT[path]:
        assert answer.status_code == 200
    else:
        assert (answer.status_code, answer.headers["allow"]) == (405, DIRECT[path])
        assert method == "HEAD" or set(answer.json()) == {"error", "which", "next"}


def preflight(url: str, origin: str) -> httpx.Response:
    headers = {"origin": origin, "access-control-request-method": "POST"}
    return httpx.options(url, headers={**headers, "access-control-request-headers": "content-type"})


def test_a_page_of_an_allowed_origin_may_ask_and_no_other(gateway: Gateway) -> None:
    url = f"{gateway.settings.gateway_url}/r/predict"
    allowed = preflight(url, ORIGIN)
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, ORIGIN)
    answer = httpx.post(url, json={}, headers={"origin": ORIGIN})
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "x-request-id" in answer.headers["access-control-expose-headers"]
    refused = httpx.post(f"{gateway.settings.gateway_url}/down/predict", json={}, headers={"origin": ORIGIN})
    assert refused.headers["access-control-allow-origin"] == ORIGIN, "a page can read why it was refused"
    for origin in ("https://evil.example.org", f"{ORIGIN}.evil.org", "null"):
        assert "access-control-allow-origin" not in preflight(url, origin).headers
        assert "access-control-allow-origin" not in httpx.post(url, json={}, headers={"origin": origin}).headers


def test_a_browser_lets_a_page_of_an_allowed_origin_read_answers_and_errors(gateway: Gateway, page: str) -> None:
    url = gateway.settings.gateway_url
    assert fetched(page, f"{url}/r/predict") in ("200 one", "200 two")
    assert fetched(page, f"{url}/down/predict").startswith('503 {"error":"no process can answer at the moment"')
    with Bento("another page").served() as (host, port):
        assert "Failed to fetch" in fetched(f"http://{host}:{port}", f"{url}/r/predict")


def test_a_route_that_envoy_refuses_is_told_and_spoils_no_others(gateway: Gateway) -> None:
    before, file = gateway.declared(), (gateway.folder / "rds.json").read_text()
    with pytest.raises(Rejected, match=r"weight|-1"):
        gateway.set_split("r", Split({"v1-a": -1, "v2-b": 101}))
    assert (gateway.declared(), (gateway.folder / "rds.json").read_text()) == (before, file)
    gateway.set_split("down", Split({"v1-b": 100}, "v1-b", 7))
    until(lambda: gateway.get_routes().splits["down"].mirror_percent == 7)


def test_routes_that_an_earlier_version_wrote_and_envoy_refuses_are_dropped_at_the_start(tmp_path: Path) -> None:
    gateway = Gateway(Settings(home=tmp_path))
    gateway.reconcile()
    state = {"splits": {"good": {"weights": {"v1-a": 100}}, "bad": {"weights": {"v1-a": -1, "v2-b": 101}}},
             "addresses": {"good": {"v1-a": [["127.0.0.1", 1]]}, "bad": {"v1-a": [["127.0.0.1", 2]]}}}  # fmt: skip
    (gateway.folder / "state.json").write_text(json.dumps({"format": 1, **state}))
    gateway.reconcile()
    splits, addresses = gateway.declared()
    assert (set(splits), set(addresses)) == ({"good"}, {"good", "bad"})


def test_requests_to_an_endpoint_that_hangs_are_asked_again_elsewhere(gateway: Gateway) -> None:
    hanging, well = Bento("hanging"), Bento("well")
    with hanging.served() as a, well.served() as b:
        gateway.set_endpoints("r2", {"v1-a": (a, b)})
        gateway.set_split("r2", Split({"v1-a": 100}))
        until(lambda: len(gateway.get_routes().healthy.get(("r2", "v1-a"), ())) == 2)
        hanging.goes_on.clear()
        try:
            url = f"{gateway.settings.gateway_url}/r2/predict"
            started = time.monotonic()
            assert [httpx.post(url, json={}, timeout=30).text for _ in range(4)] == ["well"] * 4
            assert time.monotonic() - started < 20, "and not by the time limit of 30 s"
        finally:
            hanging.goes_on.set()
    gateway.finalize("r2")


def test_an_answer_that_takes_long_is_no_failure_of_the_revision(gateway: Gateway) -> None:
    """It is sent to the other endpoint as well, since the first may hang."""
    slow, other = Bento("slow", seconds=7), Bento("other", seconds=7)
    with slow.served() as a, other.served() as b:
        gateway.set_endpoints("r3", {"v1-a": (a, b)})
        gateway.set_split("r3", Split({"v1-a": 100}))
        until(lambda: len(gateway.get_routes().healthy.get(("r3", "v1-a"), ())) == 2)
        answer = httpx.post(f"{gateway.settings.gateway_url}/r3/predict", json={}, timeout=30)
        assert (answer.status_code, answer.text in ("slow", "other")) == (200, True)
        until(lambda: gateway.get_routes().counts["r3", "v1-a"].requests >= 1)
        assert gateway.get_routes().counts["r3", "v1-a"].failed == 0
    gateway.finalize("r3")


def test_with_one_endpoint_left_a_slow_request_is_not_sent_twice(gateway: Gateway) -> None:
    slow, shadow = Bento("slow", seconds=6), Bento("shadow")
    with slow.served() as a, shadow.served() as b:
        gateway.set_endpoints("r4", {"v1-a": (a,), "v2-b": (b,)})
        gateway.set_split("r4", Split({"v1-a": 100}, "v2-b", 100))
        until(lambda: gateway.get_routes().healthy.get(("r4", "v1-a")))
        until(lambda: gateway.get_routes().splits.get("r4"))
        assert httpx.post(f"{gateway.settings.gateway_url}/r4/predict", json={}, timeout=30).text == "slow"
        assert sum(slow.requests.values()) == 1
    gateway.finalize("r4")


@contextlib.contextmanager
def slow_bento(gateway: Gateway, recipe: str, seconds: float) -> Iterator[None]:
    """The recipe is served by one endpoint, whose answers take so long."""
    with Bento("slow", seconds=seconds).served() as address:
        gateway.set_endpoints(recipe, {"v1-a": (address,)})
        gateway.set_split(recipe, Split({"v1-a": 100}))
        until(lambda: gateway.get_routes().healthy.get((recipe, "v1-a")))
        until(lambda: gateway.get_routes().splits.get(recipe))
        yield
    gateway.finalize(recipe)


def status_and_seconds(url: str, body: bytes) -> tuple[httpx.Response, float]:
    started = time.monotonic()
    return httpx.post(url, content=body, timeout=60), time.monotonic() - started


def test_above_capacity_callers_are_refused_at_once_and_the_others_are_answered(gateway: Gateway) -> None:
    with slow_bento(gateway, "r5", 0.05):  # one of Envoy's two threads may have a single connection for half of them
        request = b"POST /r5/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
        with contextlib.ExitStack() as stack:
            address = "127.0.0.1", gateway.settings.gateway_port
            callers = [stack.enter_context(socket.create_connection(address, timeout=30)) for _ in range(480)]
            for caller in callers:
                caller.sendall(request)
            answers = [caller.makefile("rb").read() for caller in callers]
    codes = Counter(answer.split()[1] for answer in answers)
    assert codes.keys() == {b"200", b"503"}
    assert codes[b"200"] >= 256, "those that find a place wait for their turn"  # none is in work before a connection is
    refused = next(answer for answer in answers if answer.split()[1] == b"503")
    assert b"\r\nretry-after: 1\r\n" in refused
    assert b"more requests wait than can be answered soon" in refused


def test_a_crowd_of_large_requests_keeps_no_small_one_waiting(gateway: Gateway) -> None:
    with slow_bento(gateway, "r6", 1):
        url = f"{gateway.settings.gateway_url}/r6/predict"
        with ThreadPoolExecutor(12) as pool:
            large = [pool.submit(status_and_seconds, url, b" " * LARGE_BODY) for _ in range(12)]
            time.sleep(0.5)
            answer, seconds = status_and_seconds(url, b"{}")
            waiting = sum(not each.done() for each in large)
            assert {each.result()[0].status_code for each in large} == {200}
    assert (answer.status_code, seconds < 2) == (200, True)
    assert waiting >= 8, "it overtakes them"
