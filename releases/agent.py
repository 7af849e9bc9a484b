"""The supervised agent of a host: makes the host run what the ledger says, and reports what runs there.

It imports neither Prefect nor MLflow's package. It alone warms a revision: fetches the package, checks its digest,
starts it, and verifies it by its golden set. Slow work has threads of its own, so the host never seems dead.
"""

import logging
import math
import os
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bentos import golden, segments
from models import registry
from ratchet.errors import Refusal
from ratchet.files import locked, save
from ratchet.fleet import processes
from ratchet.fleet.host import Host
from ratchet.fleet.package_cache import MODEL
from ratchet.settings import ROOT, Settings, settings
from ratchet.types import Endpoint, Package, to_json
from releases import api, machine, reconcile, ticker
from releases.api import StateCache
from releases.ledger import Ledger
from releases.state import Keep, Serve, State

log = logging.getLogger("agent")
_UNSUPERVISED_TICKS = 3
"""Ticks without a supervisord before everything is started again; `ratchet down` ends its agent sooner."""
_RESTART_SECONDS = 60.0
"""Time until that is tried again."""
_EXPIRE_SECONDS = 3600.0
"""Time between two looks for logs that are too old."""
_DETACHED = "import os, sys\nif os.fork(): os._exit(0)\nos.setsid()\nimport commands\ncommands.main()"
_RETRY_SECONDS = 5.0
"""Time until something that failed is tried again."""


@dataclass
class _Attempt:
    """Starting or verifying a revision: the work, the process that it concerns, and when it began."""

    work: Future[Any]
    endpoint: Endpoint | None
    at: float

    def fault(self) -> str:
        error = self.work.exception() if self.work.done() else None
        return str(error) if isinstance(error, Refusal) else f"it failed ({error!r})" if error else ""

    def verification(self) -> golden.Verification | None:
        result = self.work.result() if self.work.done() and not self.work.exception() else None
        return result if isinstance(result, golden.Verification) else None


@dataclass
class Agent:
    config: Settings
    ledger: Ledger
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(4))
    _starts: dict[tuple[str, str, int], _Attempt] = field(default_factory=dict)
    _verifications: dict[tuple[str, str, int], _Attempt] = field(default_factory=dict)
    _masters_with_worker: set[int] = field(default_factory=set)
    """Masters that had a worker in the last tick."""
    _unsupervised: int = 0
    _restarted_at: float = 0.0
    _expired_at: float = 0.0

    def __post_init__(self) -> None:
        self.host, self.states = Host(self.config), StateCache(self.ledger)
        self.log_once = ticker.LogOnce(log)

    def tick(self, now: float) -> int:
        """Compares the host with the ledger once, and reports; returns the number of the plan's operations.

        Starts, verifies and stops revisions, ends orphans and broken masters, and starts the whole stack again if
        supervisord is gone.
        """
        self._unsupervised = self._unsupervised + 1 if self.host.supervisor.pid() is None else 0
        if self._unsupervised > _UNSUPERVISED_TICKS and not ticker.is_recent(self._restarted_at, now, _RESTART_SECONDS):
            self._restart_everything(now)
        endpoints = self._end_masters_without_worker([self._with_result(e) for e in self.host.endpoints()], now)
        gateway, attempts, operations = self.ledger.statuses("gateway"), {}, 0
        wanted: set[tuple[str, str]] = set()
        for recipe in self.ledger.recipes():
            addresses = gateway[recipe].body["addresses"] if recipe in gateway else {}
            declared = {revision: [(h, p) for h, p in ends] for revision, ends in addresses.items()}
            try:
                state, _ = self.states.state(recipe)
                attempts[recipe] = state.attempt
                actions = machine.actions(state)
                wanted |= {(recipe, a.package.revision) for a in actions if isinstance(a, Serve | Keep)}
                own = [endpoint for endpoint in endpoints if endpoint.recipe == recipe]
                for operation in reconcile.host_plan(actions, own, declared, state.champion):
                    if not self._must_wait(operation, state):
                        operations += self._perform(operation, recipe, state.attempt, now)
            except Refusal as refusal:
                self.log_once(recipe, str(refusal))
            except Exception:
                # The fault of one recipe must not keep the agent from the others, nor from reporting.
                log.exception("%s: this tick failed", recipe)
        self._forget(wanted, attempts)
        reported = [{**to_json(e), "pids": ()} for e in (*endpoints, *self._failed_starts(endpoints))]
        self.ledger.publish(f"host:{self.config.host_name}", {"attempts": attempts, "endpoints": reported}, now)
        save(self.config.home / "agent.json", {"at": now})
        self.host.supervisor.rotate()
        self._expire_logs(now)
        return operations

    def _expire_logs(self, now: float) -> None:
        """Removes what nobody has collected of a log and is too old, as of a recipe that is no longer served here."""
        if ticker.is_recent(self._expired_at, now, _EXPIRE_SECONDS):
            return
        self._expired_at = now
        for recipe, status in self.ledger.statuses("retained").items():
            seconds = float(status.body.get("days", math.inf)) * 86400
            self._pool.submit(_expire, recipe, self.config.home / "predictions" / recipe, seconds)

    def _end_masters_without_worker(self, endpoints: list[Endpoint], now: float) -> list[Endpoint]:
        """Kills each BentoML master whose worker died, and reports its endpoint as not ready since now.

        Such a master accepts requests for up to 10 s without answering any. Once it is killed, connections are refused,
        so the gateway uses another host at once, and supervisord restarts the bento sooner.
        """
        masters = {pid: e for e in endpoints if e.state == "running" for pid in e.pids}
        ended = [e for pid, e in masters.items() if pid in self._masters_with_worker and not e.workers]
        for endpoint in ended:
            self.log_once(endpoint.recipe, f"the worker of {endpoint.revision} died, so its master is ended")
            self.host.kill(endpoint)
        self._masters_with_worker = {pid for pid, e in masters.items() if e.workers}
        return [replace(e, ready=False, since=now) if e in ended else e for e in endpoints]

    def _must_wait(self, operation: reconcile.HostOperation, state: State) -> bool:
        """Whether a start waits for other hosts to warm first, or for a draining revision to free its memory."""
        if not isinstance(operation, reconcile.Start):
            return False
        package = operation.package
        return self._must_wait_for_hosts(package, state) or self.host.must_wait_for_room(
            package, lambda: api.draining(self.states)
        )

    def _must_wait_for_hosts(self, package: Package, state: State) -> bool:
        """Whether `max_surge` other hosts warm this challenger first; for a rollback all hosts warm at once."""
        if (state.phase, state.kind, package) != ("warming", "release", state.challenger):
            return False
        statuses = self.ledger.statuses("host")
        living = {host for host in api.living_hosts(self.ledger) if host in state.hosts}
        cold = frozenset(h for h in living if not api.serves(statuses[h], package.recipe, package.revision))
        return not reconcile.may_warm(self.config.host_name, state.hosts, cold, state.plan.max_surge)

    def _restart_everything(self, now: float) -> None:
        """supervisord itself was killed: all that it started lives on, but nobody would restart it.

        This starts the command that a person would use, in a process that is no child of this one. It ends this
        agent and adopts the living bentos. Until then this agent continues, and tries again.
        """
        log.info("supervisord is not running, so everything is started again")
        self._restarted_at = now
        environment = {name: value for name, value in os.environ.items() if name != processes.PROGRAM}
        arguments = ["up"]
        if (self.config.home / "host.json").exists():  # another host, whose home is below the stack's
            arguments = ["host", "start", "--name", environment.pop("RATCHET_HOST_NAME")]
            environment["RATCHET_HOME"] = str(self.config.home.parent.parent)
        command = [sys.executable, "-c", _DETACHED, *arguments]
        with (self.config.home / "logs" / "agent.log").open("a", encoding="utf-8") as output:
            subprocess.run(command, env=environment, stdout=output, stderr=output, cwd=ROOT)

    def _failed_starts(self, endpoints: list[Endpoint]) -> list[Endpoint]:
        """What could not be started, with its fault."""
        known = {(e.recipe, e.revision) for e in endpoints}
        host, address = self.config.host_name, self.config.address
        return [
            Endpoint(recipe, revision, host, address, 0, "failed", False, fault=attempt.fault())
            for (recipe, revision, _), attempt in self._starts.items()
            if attempt.fault() and (recipe, revision) not in known
        ]

    def _forget(self, wanted: set[tuple[str, str]], attempts: dict[str, int]) -> None:
        """Forgets what belongs to an attempt that is over, or to a revision that nobody wants."""
        self._starts = {k: a for k, a in self._starts.items() if k[:2] in wanted and attempts.get(k[0]) == k[2]}
        self._verifications = {k: a for k, a in self._verifications.items() if k[:2] in wanted}

    def _with_result(self, endpoint: Endpoint) -> Endpoint:
        """The endpoint with the result of its verification. A process that restarted is verified again."""
        attempt = self._verifications.get((endpoint.recipe, endpoint.revision, endpoint.port))
        if attempt is None or not _same_process(attempt.endpoint, endpoint):
            return endpoint
        result = attempt.verification()
        if result is None:
            return replace(endpoint, fault=attempt.fault())
        return replace(endpoint, verified=True, golden=result.count, p50_ms=result.p50_ms)

    def _perform(self, operation: reconcile.HostOperation, recipe: str, attempt: int, now: float) -> int:
        match operation:
            case reconcile.Start(package):
                key = recipe, package.revision, attempt
                return self._submit(self._starts, key, now, None, self._start, package)
            case reconcile.Verify(package, endpoint):
                key = recipe, endpoint.revision, endpoint.port
                return self._submit(self._verifications, key, now, endpoint, self._verify, package, endpoint)
            case reconcile.Stop(revision):
                self.log_once(recipe, f"stopping {revision}")
                self.host.stop(recipe, revision, wait=False)
            case reconcile.EndOrphan(endpoint):
                self.log_once(recipe, f"ending unsupervised processes of {endpoint.revision}")
                self.host.end_orphans(endpoint)
            case reconcile.Point(package):
                self.host.packages.point_current(package)
                return 0
        return 1

    def _submit(
        self, attempts: dict[Any, _Attempt], key: Any, now: float, endpoint: Endpoint | None, work: Any, *arguments: Any
    ) -> int:
        """Submits the work, unless it is running, or was just tried on this very process."""
        attempt = attempts.get(key)
        if attempt and not attempt.work.done():
            return 0
        if attempt and ticker.is_recent(attempt.at, now, _RETRY_SECONDS) and _same_process(attempt.endpoint, endpoint):
            return 0
        attempts[key] = _Attempt(self._pool.submit(work, *arguments), endpoint, now)
        return 1

    def _start(self, package: Package) -> None:
        self.log_once(package.recipe, f"starting {package.tag}")
        self.host.start(package, registry.fetch_package)

    def _verify(self, package: Package, endpoint: Endpoint) -> golden.Verification:
        folder = self.host.packages.folder(package) / MODEL
        result = golden.verify(self.host.url(endpoint.port), folder, self.config.device)
        figures = package.recipe, package.tag, endpoint.port, result.count, result.p50_ms
        log.info("%s: %s at port %d answered %d golden inputs as expected, p50 %.2f ms", *figures)
        return result


def _expire(recipe: str, folder: Path, seconds: float) -> None:
    """On a thread, since the log's disk may be slow."""
    try:
        if count := segments.expire(folder, seconds):
            log.warning("%s: %d segments of the log were never collected, and are removed at their age", recipe, count)
    except OSError as error:
        log.warning("%s: its log cannot be looked through: %s", recipe, error)


def _same_process(one: Endpoint | None, other: Endpoint | None) -> bool:
    """Whether both are the same process; the clock may have been adjusted a little in between."""
    return one is other or (one is not None and other is not None and abs(one.since - other.since) < 1)


def main() -> None:
    config = settings()
    agent = Agent(config, Ledger(config.ledger))
    with locked(config.home / "agent.lock"):  # one agent per home, however it was started
        log.info("the agent of host %s started; its home is %s", config.host_name, config.home)
        ticker.run(agent.tick, config.tick_seconds, log)


if __name__ == "__main__":
    ticker.configure_logging()
    main()
