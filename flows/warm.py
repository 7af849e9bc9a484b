"""Reports how the agent of one host warms a package, on the host's own queue. It starts and verifies nothing itself."""

import time
from typing import Any

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.states import Cancelled, Completed

from flows.log import log
from flows.refusals import refusals_are_states
from ratchet.errors import Refusal
from ratchet.settings import settings
from ratchet.types import Endpoint, Package, from_json, to_json
from releases import api

_POLL_SECONDS = 0.5


@flow(name="warm", flow_run_name="{package[tag]}", persist_result=False)
@refusals_are_states
def warm(package: dict[str, Any]) -> Any:
    """Waits until this host's agent has fetched the package, started it, and verified its golden set.

    What the agent reported is an artifact of the run.
    """
    wanted, host, last = from_json(Package, package), settings().host_name, ""
    states, until = api.StateCache(), time.time() + settings().warm_seconds
    while True:
        status = states.ledger.statuses("host").get(host)
        endpoints = api.endpoints(status, wanted.recipe, wanted.revision) if status else []
        if endpoints and all(endpoint.ready and endpoint.verified for endpoint in endpoints):
            return _completed(wanted, host, endpoints)
        if fault := next((endpoint.fault for endpoint in endpoints if endpoint.fault), ""):
            raise Refusal(fault, f"{wanted.tag} on {host}", "See `ratchet logs agent`")
        state, _ = states.state(wanted.recipe)
        if wanted not in (state.champion, state.challenger):
            return Cancelled(message=f"{wanted.tag} is no longer wanted: {state.why}")
        # The deadline is that of all hosts, which warm `max_surge` at a time.
        if time.time() > (state.deadline if state.phase == "warming" else until):
            raise Refusal("the bento was not ready in time", f"{wanted.tag} on {host}", "See `ratchet logs agent`")
        phase = ", ".join(sorted({endpoint.state for endpoint in endpoints})) or "not started yet"
        if phase != last:
            log.info("%s on %s: %s", wanted.tag, host, phase)
            last = phase
        time.sleep(_POLL_SECONDS)


def _completed(package: Package, host: str, endpoints: list[Endpoint]) -> Any:
    for endpoint in endpoints:
        log.info("port %d: %d golden answers, p50 %.2f ms", endpoint.port, endpoint.golden, endpoint.p50_ms)
    rows = [to_json(endpoint) for endpoint in endpoints]
    create_table_artifact(rows, key=f"serving-{package.recipe}", description=f"{package.tag} on {host}")
    ports = ", ".join(str(endpoint.port) for endpoint in endpoints)
    at = f"{endpoints[0].address}, port {ports}"
    return Completed(message=f"{package.tag} serves on {host} at {at}, on its {settings().device}")
