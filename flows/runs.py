"""Flow runs as people see them: start one, follow it, mark the dead; and whether the workers listen."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from ratchet.errors import Refusal
from ratchet.fleet import processes
from ratchet.fleet.processes import environment
from ratchet.fleet.stack import Stack
from ratchet.settings import Settings, settings

_FLUSH = 4
"""Looks, two a second, in which no line comes before the last is taken for the last: a run's own come in batches."""
_WAITS = "another run of this deployment is under way, and this one waits for it"
_YOUNG = 60.0
"""Seconds in which a pending run may have no process yet."""


@dataclass(frozen=True)
class Run:
    id: str
    name: str
    state: str
    message: str
    started: str


@contextmanager
def api() -> Iterator[Any]:
    """Prefect's client. Raises Refusal when its server does not answer."""
    import httpx
    from prefect.client.orchestration import get_client

    try:
        with get_client(sync_client=True) as client:
            yield client
    except httpx.HTTPError as error:
        raise Refusal(
            f"Prefect does not answer ({type(error).__name__})", settings().prefect_url, "See `ratchet logs prefect`"
        ) from error


def start(deployment: str, parameters: dict[str, object], queue: str | None = None) -> str:
    """Starts `flow/deployment`, on a host's own queue where one is named; returns the flow run's id.

    Raises Refusal when there is no such deployment.
    """
    from prefect.deployments import run_deployment
    from prefect.exceptions import ObjectNotFound

    try:
        return str(run_deployment(deployment, parameters=parameters, work_queue_name=queue, timeout=0).id)
    except ObjectNotFound:
        raise Refusal("there is no such deployment", deployment, "Run `ratchet up`") from None


def follow(id: str, tell: Callable[[str], None]) -> Run:
    """Tells the run's log lines and its tasks' as they come; returns it when it has ended."""
    from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
    from prefect.client.schemas.sorting import LogSort

    seen: set[UUID] = set()
    state, quiet = "", 0
    with api() as client:
        while True:
            run = client.read_flow_run(UUID(id))
            # Lines may arrive late, before ones that were told: look back a little.
            lines = client.read_logs(
                LogFilter(flow_run_id=LogFilterFlowRunId(any_=[UUID(id)])),
                sort=LogSort.TIMESTAMP_ASC,
                limit=200,
                offset=max(0, len(seen) - 50),
            )
            new = [line for line in lines if line.id not in seen]
            for line in new:
                seen.add(line.id)
                if _worth_telling(line.level, line.message):
                    tell(line.message.splitlines()[0])
            now = run.state.name if run.state else "Unknown"
            if now != state and not (run.state and run.state.is_final()):
                tell(f"flow run {run.name}: {_WAITS if now == 'AwaitingConcurrencySlot' else now.lower()}")
            state = now
            quiet = 0 if new or not (run.state and run.state.is_final()) else quiet + 1
            if quiet > _FLUSH and run.state:
                return Run(
                    id, run.name, run.state.type.value.lower(), run.state.message or "", str(run.start_time or "")
                )
            time.sleep(0.5)


def wait(id: str, seconds: float, still: Callable[[], bool]) -> Run:
    """Returns the run when it has ended; one that is late, or that `still` no longer wants, is cancelled."""
    until = time.monotonic() + seconds
    with api() as client:
        while True:
            run = client.read_flow_run(UUID(id))
            if run.state and run.state.is_final():
                return Run(id, run.name, run.state.type.value.lower(), run.state.message or "", "")
            late = time.monotonic() > until
            if late or not still():
                cancel(id)
                return Run(id, run.name, "cancelled", "it was not done in time" if late else "it came to an end", "")
            time.sleep(0.5)


def _worth_telling(level: int, message: str) -> bool:
    """Prefect's own housekeeping is not; nor is a refusal's trace, since the run ends with its sentence."""
    dull = (
        "Finished in state",
        "Beginning flow run",
        "View at",
        "Worker '",
        "Flow run '",
        "Downloading flow code",
        "Created ",
        "Aborted submission",
        "Engine execution",
    )
    return (
        level >= 20
        and bool(message.strip())
        and not message.startswith(dull)
        and "Refusal(" not in message.splitlines()[0]
    )


def last(recipe: str) -> Run | None:
    """The newest run of a recipe's loop, or None."""
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName, FlowFilter, FlowFilterName
    from prefect.client.schemas.sorting import FlowRunSort

    with api() as client:
        found = client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=["retrain-and-release"])),
            deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[recipe])),
            sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=20,
        )  # fmt: skip
    ran = [r for r in found if r.state and not r.state.is_scheduled()]
    if not ran:
        return None
    state = ran[0].state
    assert state
    return Run(str(ran[0].id), ran[0].name, state.type.value.lower(), state.message or "", str(ran[0].start_time or ""))


def artifact(id: str, key: str) -> list[dict[str, object]]:
    """The rows of a table artifact that a flow run left. Raises Refusal when there is none."""
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey

    wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[UUID(id)]), key=ArtifactFilterKey(any_=[key]))
    with api() as client:
        found = client.read_artifacts(artifact_filter=wanted)
    if not found:
        raise Refusal(f"the run left no artifact {key}", id, "See its log in the Prefect UI")
    return json.loads(str(found[0].data))


def cancel(id: str) -> None:
    """Asks that a run end."""
    from prefect.states import Cancelling

    with api() as client:
        client.set_flow_run_state(UUID(id), Cancelling(), force=True)


def workers_online(pool: str, since: float = 0.0) -> bool:
    """Whether a worker of the pool was heard of lately, and after `since`: a killed one is not missed at once."""
    from prefect.exceptions import ObjectNotFound

    with api() as client:
        try:
            found = client.read_workers_for_work_pool(pool)
        except ObjectNotFound:
            return False
    heard = [w.last_heartbeat_time for w in found if w.status.value == "ONLINE"]
    return any(at and at.timestamp() > since for at in heard)


def crash_zombies(config: Settings) -> list[str]:
    """Marks runs as crashed that this machine's workers took and no process runs; frees what they held."""
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    types = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
    ended = []
    with api() as client:
        chosen = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=types)))
        runs = client.read_flow_runs(flow_run_filter=chosen)
        # Looked for after the runs are known, so that one which starts meanwhile is not taken for dead.
        homes = [config, *(stack.settings for stack in Stack(config).hosts())]
        marked = [p for home in homes for p in processes.marked(home.mark)]
        # The asking process is none of the marked ones.
        living = {os.environ.get("PREFECT__FLOW_RUN_ID"), *(environment(p, "PREFECT__FLOW_RUN_ID") for p in marked)}
        queues = {"default", *(home.host_name for home in homes)}
        for run in runs:
            # The process worker writes a bare pid, or one with its host's name before it.
            host = (run.infrastructure_pid or "").rpartition(":")[0]
            young = run.state and (datetime.now(UTC) - run.state.timestamp).total_seconds() < _YOUNG
            pending = run.state and run.state.is_pending()
            here = host in ("", socket.gethostname()) and run.work_queue_name in queues
            if here and str(run.id) not in living and not (pending and young):
                client.set_flow_run_state(run.id, Crashed(message="Nobody was running it any more."), force=True)
                ended.append(run.name)
    return ended
