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
from releases import act


@flow(name="serve", flow_run_name="{package[tag]}", persist_result=False)
@refusals_are_states
def serve(package: dict[str, Any]) -> Any:
    """Fetches the bento, checks its digest, starts it, asks its golden set, measures.

    What it found out is an artifact. The host's agent stops what the ledger does not name.
    """
    made = from_json(Package, package)
    served = _serve(made, Host(settings()))
    create_table_artifact([to_json(served)], key=f"serving-{made.recipe}", description=f"{made.tag} on {served.host}")
    return Completed(
        message=f"{made.tag} serves on {served.host} at {served.address}:{served.port}, on its {served.device}"
    )


def _serve(made: Package, host: Host) -> Served:
    log, started = get_run_logger(), time.monotonic()
    address, port = host.start(made, act.fetch)
    log.info("%s starts at port %d", made.tag, port)
    while not host.ready(port):
        if time.monotonic() - started > settings().warm_seconds / 2:
            raise Refusal(
                f"the bento is not ready: {host.why_not_ready(port)}", made.tag, "See its log: `ratchet logs`"
            )
        time.sleep(0.2)
    seconds = time.monotonic() - started
    url, folder = host.url(port), host.shelf.folder(made) / "src" / "model"
    count = golden.prove(url, made.recipe, folder, settings().device)
    p50, p99 = golden.latency(url, made.recipe, folder)
    log.info("%d golden answers as expected; p50 %.2f ms, p99 %.2f ms; ready after %.1f s", count, p50, p99, seconds)
    return Served(made, settings().host_name, address, port, settings().device, count, p50, p99, seconds)
