"""Small servers that answer as a bento does, as far as the gateway cares; and faults for real bentos."""

from __future__ import annotations

import contextlib
import http.server
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from ratchet.fleet.gateway import Gateway
from ratchet.settings import Settings


def put(path: Path, lines: str, before: str) -> None:
    """Puts `lines` before the one place in a file that reads `before`."""
    source = path.read_text()
    assert source.count(before) == 1, f"{path.name} has {source.count(before)} times {before!r}"
    path.write_text(source.replace(before, lines + before))


def ready(port: int, seconds: float = 60) -> httpx.Response:
    """A real bento's first answer to whether it is."""
    until = time.monotonic() + seconds
    while True:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/v2/health/ready", timeout=2)
        except httpx.HTTPError:
            assert time.monotonic() < until, "the service did not come up"
            time.sleep(0.2)


@dataclass
class Bento:
    """Answers as a bento does, as far as the gateway cares; `status` is what callers get."""

    name: str
    status: int = 200
    seconds: float = 0.0
    requests: Counter[str] = field(default_factory=Counter)
    ids: list[str] = field(default_factory=list)
    dead: bool = False
    goes_on: threading.Event = field(default_factory=threading.Event)
    """Set while it answers; clear it, and it is as a stopped process."""

    def __post_init__(self) -> None:
        self.goes_on.set()

    @contextlib.contextmanager
    def served(self) -> Iterator[tuple[str, int]]:
        bento = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                bento.goes_on.wait()
                if bento.dead:
                    self.close_connection = True
                    return
                self.answer(200)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                bento.goes_on.wait()
                if bento.dead:
                    self.close_connection = True
                    return
                bento.requests[self.path] += 1
                bento.ids.append(self.headers["x-request-id"])
                time.sleep(bento.seconds)
                self.answer(bento.status)

            def answer(self, status: int) -> None:
                with contextlib.suppress(ConnectionError):  # who waited may have gone
                    self.send_response(status)
                    self.send_header("content-length", str(len(bento.name)))
                    self.end_headers()
                    self.wfile.write(bento.name.encode())

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 2048  # as a bento's; with the default of 5, a crowd is not even connected

        server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()  # it dies at once
        try:
            yield ("127.0.0.1", server.server_port)
        finally:
            self.dead = True
            server.shutdown()
            server.server_close()


@contextlib.contextmanager
def enveloped(config: Settings) -> Iterator[Gateway]:
    """A real Envoy with nothing declared."""
    gateway = Gateway(config)
    gateway.reconcile()
    process = subprocess.Popen(gateway.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: gateway.get_routes().alive)
        yield gateway
    finally:
        process.kill()
        process.wait()


def until(there: Callable[[], object], seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.05)
