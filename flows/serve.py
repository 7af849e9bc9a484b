"""On a host's own queue: put a package into service there, or leave the host as it was."""

from __future__ import annotations

import time
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.states import Completed

from bentos import golden
from flows.refusals import refusals_are_states
from ratchet.errors import Refusal
from ratchet.fleet.host import Host
from ratchet.settings import settings
from ratchet.words import Package, Served, from_json, to_json
from releases import act, requests


@flow(name="serve", flow_run_name="{package[tag]}", persist_result=False)
@refusals_are_states
def serve(package: dict[str, Any]) -> Any:
    """Fetches the bento, checks its digest, starts it, asks its golden set, measures.

    What it found out is an artifact. The host's agent stops what the ledger does not name.
    """
    made = from_json(Package, package)
    host, started = Host(settings()), time.monotonic()
    while host.crowded(made, lambda: requests.leaving(requests.Followed())) and _in_time(started):
        time.sleep(0.5)
    ports = host.start(made, act.fetch)
    get_run_logger().info("%s starts at %s", made.tag, _at(ports))
    found = [_proved(made, host, port, started) for port in ports]
    name, device = settings().host_name, settings().device
    create_table_artifact(
        [to_json(s) for s in found], key=f"serving-{made.recipe}", description=f"{made.tag} on {name}"
    )
    return Completed(message=f"{made.tag} serves on {name} at {_at(ports)}, on its {device}")


def _in_time(started: float) -> bool:
    return time.monotonic() - started < settings().warm_seconds / 2


def _at(ports: tuple[int, ...]) -> str:
    return f"{settings().address}, port {', '.join(map(str, ports))}"


def _proved(made: Package, host: Host, port: int, started: float) -> Served:
    log = get_run_logger()
    while not host.ready(port):
        if not _in_time(started):
            raise Refusal(
                f"the bento is not ready: {host.why_not_ready(port)}", made.tag, "See its log: `ratchet logs`"
            )
        time.sleep(0.2)
    seconds = time.monotonic() - started
    url, folder = host.url(port), host.shelf.folder(made) / "src" / "model"
    count = golden.prove(url, folder, settings().device)
    p50, p99 = golden.latency(url, folder)
    log.info("%d golden answers as expected; p50 %.2f ms, p99 %.2f ms; ready after %.1f s", count, p50, p99, seconds)
    return Served(made, settings().host_name, settings().address, port, settings().device, count, p50, p99, seconds)
