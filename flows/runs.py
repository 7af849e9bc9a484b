"""Flow runs: starts and follows one, ends dead ones, and says whether workers are online."""

import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from flows import log
from ratchet.errors import Refusal
from ratchet.fleet import processes
from ratchet.fleet.processes import environment
from ratchet.fleet.stack import LOG_SECONDS, Stack
from ratchet.settings import Settings, settings, without_password

POOLS = ("cpu", "gpu")
_POLL_SECONDS = 0.5
_QUIET_POLLS = round(2 * LOG_SECONDS / _POLL_SECONDS)
"""Polls without a new line after the end of a run until the last line is assumed."""
_ENGINE = ("prefect.flow_runs", "prefect.task_runs")
"""Prefect's loggers of a run that fails, with traces; the message of its last state says the same in a sentence."""
_WAITING = "waiting for another run of this deployment"
SUPERSEDED = "a later run of the same schedule is due, and does the work"
_YOUNG_SECONDS = 60.0
"""Time in which a pending run may have no process yet."""


@dataclass(frozen=True)
class Run:
    id: str
    name: str
    state: str
    message: str
    started: str


def _run_of(run: Any) -> Run:
    return Run(str(run.id), run.name, run.state.type.value.lower(), run.state.message or "", str(run.start_time or ""))


@contextmanager
def client() -> Iterator[Any]:
    """Prefect's client. Raises Refusal if its server does not answer, or no longer has what it is asked for."""
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    try:
        with get_client(sync_client=True) as prefect:
            yield prefect
    except ObjectNotFound as error:
        what = "the flow run, or what it needs, was deleted in Prefect"
        next = "Run the loop again; `ratchet up` deploys what is missing"
        raise Refusal(what, settings().prefect_url, next) from error
    except httpx.HTTPError as error:
        what = f"Prefect does not answer ({type(error).__name__})"
        raise Refusal(what, settings().prefect_url, "See `ratchet logs prefect`") from error


def url(id: str) -> str:
    """Where Prefect's UI shows a flow run."""
    return f"{without_password(settings().prefect_url)}/runs/flow-run/{id}"


def start(deployment: str, parameters: dict[str, object], queue: str | None = None) -> str:
    """Starts `flow/deployment`, on a host's own queue if one is named; returns the id of the flow run.

    Raises Refusal if there is no such deployment.
    """
    from prefect.deployments import run_deployment
    from prefect.exceptions import ObjectNotFound

    try:
        return str(run_deployment(deployment, parameters=parameters, work_queue_name=queue, timeout=0).id)
    except ObjectNotFound:
        raise Refusal("there is no such deployment", deployment, "Run `ratchet up`") from None


def pause(deployment: str) -> None:
    """Lets the schedules of `flow/deployment` start nothing until somebody resumes it."""
    with client() as prefect:
        prefect.pause_deployment(prefect.read_deployment_by_name(deployment).id)


def follow(id: str, report: Callable[[str], None]) -> Run:
    """Reports the run's own log lines and those of its tasks as they come; returns it when it has ended."""
    from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
    from prefect.client.schemas.sorting import LogSort

    seen: set[UUID] = set()
    state, quiet = "", 0
    chosen = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[UUID(id)]))
    with client() as prefect:
        while True:
            run = prefect.read_flow_run(UUID(id))
            # Lines may arrive late, before ones that were reported, so it reads a few of those again.
            offset = max(0, len(seen) - 50)
            lines = prefect.read_logs(chosen, sort=LogSort.TIMESTAMP_ASC, limit=200, offset=offset)
            new = [line for line in lines if line.id not in seen]
            for line in new:
                seen.add(line.id)
                if _is_own(line):
                    report(line.message.splitlines()[0])
            final = bool(run.state and run.state.is_final())
            name = run.state.name if run.state else "Unknown"
            if name != state and not final:
                report(f"flow run {run.name}: {_WAITING if name == 'AwaitingConcurrencySlot' else name.lower()}")
            state = name
            quiet = 0 if new or not final else quiet + 1
            if quiet > _QUIET_POLLS:
                return _run_of(run)
            time.sleep(_POLL_SECONDS)


def _is_own(line: Any) -> bool:
    """Whether a line is ours, or a warning or an error of anybody else's but the engine's."""
    if line.name in _ENGINE:
        return False
    least = logging.INFO if line.name.split(".")[0] == log.NAME else logging.WARNING
    return line.level >= least and bool(line.message.strip())


def wait(id: str, seconds: float) -> Run:
    """Returns the run when it has ended; a run that is late is cancelled."""
    until = time.monotonic() + seconds
    with client() as prefect:
        while True:
            run = prefect.read_flow_run(UUID(id))
            if run.state and run.state.is_final():
                return _run_of(run)
            if time.monotonic() > until:
                cancel(id)
                return Run(id, run.name, "cancelled", f"it did not end in {seconds:.0f} s", "")
            time.sleep(_POLL_SECONDS)


def last(recipe: str) -> Run | None:
    """The newest run of a recipe's loop, or None."""
    from prefect.client.schemas.sorting import FlowRunSort

    newest = FlowRunSort.EXPECTED_START_TIME_DESC
    with client() as prefect:
        runs = prefect.read_flow_runs(**_loop_of(recipe), sort=newest, limit=20)
    return next((_run_of(run) for run in runs if run.state and not run.state.is_scheduled()), None)


def waiting(recipe: str) -> list[Run]:
    """The runs of a recipe's loop that wait for another one to end, and then start by themselves."""
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateName

    queued = FlowRunFilter(state=FlowRunFilterState(name=FlowRunFilterStateName(any_=["AwaitingConcurrencySlot"])))
    with client() as prefect:
        return [_run_of(run) for run in prefect.read_flow_runs(flow_run_filter=queued, **_loop_of(recipe))]


def _loop_of(recipe: str) -> dict[str, Any]:
    """Prefect's filters for the runs of a recipe's loop."""
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName, FlowFilter, FlowFilterName

    loop = FlowFilter(name=FlowFilterName(any_=["retrain-and-release"]))
    return {"flow_filter": loop, "deployment_filter": DeploymentFilter(name=DeploymentFilterName(any_=[recipe]))}


def _in_state(*types: str) -> Any:
    """Prefect's filter for the runs in one of these types of state."""
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
    from prefect.client.schemas.objects import StateType

    chosen = FlowRunFilterStateType(any_=[StateType(each) for each in types])
    return FlowRunFilter(state=FlowRunFilterState(type=chosen))


def is_superseded(id: str) -> bool:
    """Whether its schedule has a later run that is due, or was faster: after an outage one run is enough."""
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId, FlowRunFilterExpectedStartTime

    with client() as prefect:
        run = prefect.read_flow_run(UUID(id))
        if not run.auto_scheduled or run.deployment_id is None or run.expected_start_time is None:
            return False
        same = FlowRunFilterDeploymentId(any_=[run.deployment_id])
        later = FlowRunFilterExpectedStartTime(after_=run.expected_start_time, before_=datetime.now(UTC))
        chosen = _in_state("SCHEDULED", "PENDING", "RUNNING", "COMPLETED")
        chosen = FlowRunFilter(state=chosen.state, deployment_id=same, expected_start_time=later)
        others = prefect.read_flow_runs(flow_run_filter=chosen, limit=200)
    own = [other for other in others if other.auto_scheduled and other.created_by == run.created_by]
    return any(other.expected_start_time and other.expected_start_time > run.expected_start_time for other in own)


def next_scheduled(flow: str) -> datetime | None:
    """When Prefect starts the next run of a flow, as its schedules say."""
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName
    from prefect.client.schemas.sorting import FlowRunSort

    own, soonest = FlowFilter(name=FlowFilterName(any_=[flow])), FlowRunSort.EXPECTED_START_TIME_ASC
    with client() as prefect:
        runs = prefect.read_flow_runs(flow_filter=own, flow_run_filter=_in_state("SCHEDULED"), sort=soonest, limit=1)
    due: datetime | None = runs[0].expected_start_time if runs else None
    return due


def paused(recipe: str) -> str:
    """The id of the run of a recipe's loop that waits for a person. Raises Refusal if none does."""
    with client() as prefect:
        waiting = prefect.read_flow_runs(flow_run_filter=_in_state("PAUSED"), **_loop_of(recipe))
    if not waiting:
        raise Refusal("no run waits for approval", recipe, "See `ratchet status`")
    return str(waiting[0].id)


def resume(id: str) -> None:
    """Lets a paused run go on."""
    with client() as prefect:
        prefect.resume_flow_run(UUID(id))


def is_expected(recipe: str, cause: str) -> bool:
    """Whether a run of the recipe's loop has this cause as its parameter and is not over."""
    unfinished = _in_state("SCHEDULED", "PENDING", "RUNNING", "PAUSED")
    with client() as prefect:
        runs = prefect.read_flow_runs(flow_run_filter=unfinished, **_loop_of(recipe))
    return any(run.parameters.get("cause") == cause for run in runs)


def cancel(id: str) -> None:
    """Cancels a run."""
    from prefect.states import Cancelling

    with client() as prefect:
        prefect.set_flow_run_state(UUID(id), Cancelling(), force=True)


def has_ended(id: str) -> bool:
    """Whether the run is in its last state."""
    with client() as prefect:
        state = prefect.read_flow_run(UUID(id)).state
    return bool(state and state.is_final())


def is_over(id: str) -> bool:
    """Whether the run is in its last state; a deleted one counts as well."""
    state = _state(id)
    return state is None or bool(state.is_final())


def _state(id: str) -> Any | None:
    """The state of a run; None if it was deleted."""
    from prefect.exceptions import ObjectNotFound

    with client() as prefect:
        try:
            return prefect.read_flow_run(UUID(id)).state
        except ObjectNotFound:
            return None


def message(id: str) -> str:
    """What the last state of a run says; empty if nothing is known of it."""
    state = _state(id)
    return (state.message or "") if state else ""


def is_cancelled(id: str) -> bool:
    """Whether a person cancelled the run; a deleted one counts as well."""
    state = _state(id)
    return state is None or bool(state.is_cancelled() or state.is_cancelling())


def workers_online(pool: str, since: float = 0.0) -> bool:
    """Whether a worker of the pool sent a heartbeat lately, and after `since`; Prefect misses a killed one late."""
    from prefect.exceptions import ObjectNotFound

    with client() as prefect:
        try:
            workers = prefect.read_workers_for_work_pool(pool)
        except ObjectNotFound:
            return False
    heartbeats = [worker.last_heartbeat_time for worker in workers if worker.status.value == "ONLINE"]
    return any(at and at.timestamp() > since for at in heartbeats)


def crash_dead_runs(config: Settings) -> list[str]:
    """Ends runs that this machine's workers took and no process executes, which frees what they held."""
    from prefect.states import Cancelled, Crashed

    crashed, why = [], "No process was executing it."
    with client() as prefect:
        runs = prefect.read_flow_runs(flow_run_filter=_in_state("RUNNING", "PENDING", "CANCELLING", "PAUSED"))
        # The processes are listed after the runs, so that a run which starts meanwhile is not taken for dead.
        homes = [config, *(stack.settings for stack in Stack(config).hosts())]
        marked = [process for home in homes for process in processes.marked(home.marker)]
        # The calling process is not among the marked ones.
        living = {os.environ.get("PREFECT__FLOW_RUN_ID"), *(environment(p, "PREFECT__FLOW_RUN_ID") for p in marked)}
        queues = {"default", *(home.host_name for home in homes)}
        for run in runs:
            if str(run.id) not in living and _is_local(run, queues) and not _is_young(run):
                last = Cancelled(message=why) if run.state.is_cancelling() else Crashed(message=why)
                prefect.set_flow_run_state(run.id, last, force=True)
                crashed.append(run.name)
    return crashed


def mark_dead_runs(report: Callable[[str], None]) -> None:
    """Marks dead runs as crashed and reports each."""
    for name in crash_dead_runs(settings()):
        report(f"flow run {name} was marked as crashed, since no process was executing it")


def _is_local(run: Any, queues: set[str]) -> bool:
    """Whether a worker of this machine took it. A process worker writes a pid, or one after its host's name."""
    host = (run.infrastructure_pid or "").rpartition(":")[0]
    return host in ("", socket.gethostname()) and run.work_queue_name in queues


def _is_young(run: Any) -> bool:
    age = (datetime.now(UTC) - run.state.timestamp).total_seconds()
    return bool(run.state.is_pending() and age < _YOUNG_SECONDS)
