"""One of each host, supervised: makes the host run what the ledger says, and tells what runs there.

Imports neither Prefect nor MLflow's package. Slow work (fetching a bento, asking its golden set) has a
thread of its own, so that the host is never taken for dead meanwhile.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from bentos import golden
from ratchet.errors import Refusal
from ratchet.files import keep, locked
from ratchet.fleet import processes
from ratchet.fleet.host import Host
from ratchet.settings import ROOT, Settings, settings
from ratchet.words import Arm, Package, to_json
from releases import machine, reconcile, requests, ticking
from releases.act import fetch
from releases.ledger import Ledger
from releases.requests import Followed
from releases.state import Keep, Serve, State

log = logging.getLogger("agent")
_ALONE = 3
"""Ticks without a supervisord before all is started anew: `ratchet down` ends its agent sooner."""
_ANEW = 60.0
"""Seconds before that is tried again."""
_DETACHED = "import os, sys\nif os.fork(): os._exit(0)\nos.setsid()\nimport commands\ncommands.main()"
_AGAIN = 5.0
"""Seconds before what failed is tried again."""


@dataclass
class _Tried:
    """What became of starting or asking an arm."""

    work: Future[None]
    process: Arm | None
    at: float

    def fault(self) -> str:
        error = self.work.exception() if self.work.done() else None
        return str(error) if isinstance(error, Refusal) else f"it failed ({error!r})" if error else ""


@dataclass
class Agent:
    config: Settings
    book: Ledger
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(4))
    _started: dict[tuple[str, str, int], _Tried] = field(default_factory=dict)
    _proved: dict[tuple[str, str, int], _Tried] = field(default_factory=dict)
    _headed: set[int] = field(default_factory=set)
    """Masters that had a worker when they were last looked at."""
    _alone: int = 0
    _began_anew: float = 0.0

    def __post_init__(self) -> None:
        self.host, self.followed = Host(self.config), Followed(self.book)
        self.told = ticking.Once(log)

    def tick(self, now: float) -> int:
        """Looks once at everything and begins what is missing; returns the number of things begun."""
        self._alone = self._alone + 1 if self.host.supervisor.pid() is None else 0
        if self._alone > _ALONE and now - self._began_anew > _ANEW:
            self._begin_anew(now)
        arms = self._beheaded([self._judged(a) for a in self.host.arms()], now)
        gateway, attempts, changed = self.book.heard("gateway"), {}, 0
        wanted: set[tuple[str, str]] = set()
        for recipe in self.book.recipes():
            places = gateway[recipe].body["places"] if recipe in gateway else {}
            declared = {arm: [(h, p) for h, p in ends] for arm, ends in places.items()}
            try:
                state, _ = self.followed.state(recipe)
                attempts[recipe] = state.attempt
                wants = machine.wants(state)
                wanted |= {(recipe, a.package.arm) for a in wants if isinstance(a, Serve | Keep)}
                mine = [a for a in arms if a.recipe == recipe]
                for operation in reconcile.host_plan(wants, mine, declared, state.champion):
                    if isinstance(operation, reconcile.Start) and (
                        self._waits(operation.package, state)
                        or self.host.crowded(operation.package, lambda: requests.leaving(self.followed))
                    ):
                        continue
                    changed += self._perform(operation, recipe, state.attempt, now)
            except Refusal as refusal:
                self.told(recipe, str(refusal))
            except Exception:
                # One recipe's fault must not keep the others from being looked after, nor this host from speaking.
                log.exception("%s: this tick failed", recipe)
        self._forget(wanted, attempts)
        told = [{**to_json(a), "pids": ()} for a in (*arms, *self._unstarted(arms))]
        self.book.say(f"host:{self.config.host_name}", {"attempts": attempts, "arms": told}, now)
        keep(self.config.home / "agent.json", {"at": now})
        self.host.supervisor.rotate()
        return changed

    def _beheaded(self, arms: list[Arm], now: float) -> list[Arm]:
        """Ends each master whose worker died, and tells of both as begun anew now.

        It would take requests for up to 10 s, until it begins another worker, and answer none. Without it they are
        refused and go elsewhere at once, and it is back sooner.
        """
        mine = {pid: arm for arm in arms if arm.state == "running" for pid in arm.pids}
        ended = [arm for pid, arm in mine.items() if pid in self._headed and not arm.workers]
        for arm in ended:
            self.told(arm.recipe, f"the worker of {arm.arm} died: its master is ended, too")
            self.host.kill(arm)
        self._headed = {pid for pid, arm in mine.items() if arm.workers}
        return [replace(a, ready=False, since=now) if a in ended else a for a in arms]

    def _waits(self, package: Package, state: State) -> bool:
        """Whether other hosts warm this challenger first; to roll back, all do at once."""
        if (state.phase, state.kind, package) != ("warming", "release", state.challenger):
            return False
        said = self.book.heard("host")
        living = {h for h in requests.hosts(self.book) if h in state.hosts}
        cold = frozenset(h for h in living if not requests.serves(said[h], package.recipe, package.arm))
        return not reconcile.may_warm(self.config.host_name, state.hosts, cold, state.plan.max_surge)

    def _begin_anew(self, now: float) -> None:
        """supervisord itself was killed: all that it started lives on, but nobody would start it again.

        What a person would do is begun in a process that is no child of this one: it ends this agent, and
        adopts the bentos that live. Until it does, this agent goes on, and tries again.
        """
        log.info("supervisord is gone: all is started anew")
        self._began_anew = now
        environment = {k: v for k, v in os.environ.items() if k != processes.PROGRAM}
        arguments = ["up"]
        if (self.config.home / "host.json").exists():  # a further host, below the home of the stack
            arguments = ["host", "start", "--name", environment.pop("RATCHET_HOST_NAME")]
            environment["RATCHET_HOME"] = str(self.config.home.parent.parent)
        with (self.config.home / "logs" / "agent.log").open("a") as told:
            subprocess.run([sys.executable, "-c", _DETACHED, *arguments],
                           env=environment, stdout=told, stderr=told, cwd=ROOT)  # fmt: skip

    def _unstarted(self, arms: list[Arm]) -> list[Arm]:
        """What could not be started, with its fault."""
        there = {(a.recipe, a.arm) for a in arms}
        return [
            Arm(recipe, arm, self.config.host_name, self.config.address, 0, "failed", False, fault=tried.fault())
            for (recipe, arm, _), tried in self._started.items() if tried.fault() and (recipe, arm) not in there
        ]  # fmt: skip

    def _forget(self, wanted: set[tuple[str, str]], attempts: dict[str, int]) -> None:
        """What was tried for an attempt that is over, or with an arm that nobody wants."""
        self._started = {k: t for k, t in self._started.items() if k[:2] in wanted and attempts.get(k[0]) == k[2]}
        self._proved = {k: t for k, t in self._proved.items() if k[:2] in wanted}

    def _judged(self, arm: Arm) -> Arm:
        """With what this host found out about it. A process that began anew is asked anew."""
        tried = self._proved.get((arm.recipe, arm.arm, arm.port))
        if tried is None or not _same(tried.process, arm):
            return arm
        return replace(arm, proven=tried.work.done() and not tried.fault(), fault=tried.fault())

    def _perform(self, operation: reconcile.HostOperation, recipe: str, attempt: int, now: float) -> int:
        match operation:
            case reconcile.Start(package):
                return self._begin(self._started, (recipe, package.arm, attempt), now, None, self._start, package)
            case reconcile.Prove(package, arm):
                return self._begin(self._proved, (recipe, arm.arm, arm.port), now, arm, self._prove, package, arm)
            case reconcile.Stop(arm):
                self.told(recipe, f"stops {arm}")
                self.host.stop(recipe, arm, wait=False)
            case reconcile.EndOrphan(arm):
                self.told(recipe, f"ends processes of {arm.arm} that nobody supervised")
                self.host.end_orphans(arm)
            case reconcile.Point(package):
                self.host.shelf.point_current(package)
                return 0
        return 1

    def _begin(self, kept: dict[Any, _Tried], key: Any, now: float, process: Arm | None, work: Any, *of: Any) -> int:
        """Unless it is under way, or failed on this very process or a moment ago."""
        tried = kept.get(key)
        if tried and (not tried.work.done() or (now - tried.at < _AGAIN and _same(tried.process, process))):
            return 0
        kept[key] = _Tried(self._pool.submit(work, *of), process, now)
        return 1

    def _start(self, package: Package) -> None:
        self.told(package.recipe, f"starts {package.tag}")
        self.host.start(package, fetch)

    def _prove(self, package: Package, arm: Arm) -> None:
        folder = self.host.shelf.folder(package) / "src" / "model"
        count = golden.prove(self.host.url(arm.port), folder, self.config.device)
        log.info("%s: %s at port %d gave %d golden answers", package.recipe, package.tag, arm.port, count)


def _same(one: Arm | None, other: Arm | None) -> bool:
    """The same process; the machine's clock may have been set a little meanwhile."""
    return one is other or (one is not None and other is not None and abs(one.since - other.since) < 1)


def main() -> None:
    config = settings()
    agent = Agent(config, Ledger(config.ledger))
    with locked(config.home / "agent.lock"):  # one of a home, however it was started
        log.info("the agent of host %s looks after %s", config.host_name, config.home)
        ticking.run(agent.tick, config.tick_seconds, log)


if __name__ == "__main__":
    ticking.logs()
    main()
