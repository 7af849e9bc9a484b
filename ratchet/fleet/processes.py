"""Finds this home's processes by the private marker that its supervisor sets in their environment.

Flow runs outlive their worker, and a bento's worker has a session of its own, so neither process groups
nor parents show which processes belong to a stack.
"""

import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import psutil

MARKER, PROGRAM = "RATCHET_PRIVATE_MARKER", "RATCHET_PRIVATE_PROGRAM"


def marked(marker: str) -> list[psutil.Process]:
    """Every living process with this marker, except the calling one and its ancestors."""
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    matching = []
    for process in psutil.process_iter():
        try:
            if process.pid in own or process.environ().get(MARKER) != marker:
                continue
            if process.status() != psutil.STATUS_ZOMBIE:
                matching.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return matching


def environment(process: psutil.Process, name: str) -> str | None:
    try:
        return process.environ().get(name)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None


@dataclass(frozen=True)
class Survey:
    """All marked processes at one moment, and their parents: one walk over the machine answers every question."""

    processes: tuple[psutil.Process, ...]
    parents: Mapping[int, int]
    supervisor: int | None

    def unsupervised(self) -> list[psutil.Process]:
        """Those that are not descendants of the supervisor."""
        return [p for p in self.processes if self.supervisor is None or self.supervisor not in self._ancestors(p.pid)]

    def youngest(self, pids: Iterable[int]) -> float:
        """When the youngest of these processes and their descendants started; 0 if none lives."""
        named, started = set(pids), 0.0
        for process in self.processes:
            if named & {process.pid, *self._ancestors(process.pid)}:
                with suppress(psutil.NoSuchProcess):
                    started = max(started, process.create_time())
        return started

    def descendants(self, pids: Iterable[int]) -> int:
        """The number of living descendants of these processes."""
        named = set(pids)
        return sum(bool(named & set(self._ancestors(process.pid))) for process in self.processes)

    def _ancestors(self, pid: int) -> list[int]:
        ancestors: list[int] = []
        while (pid := self.parents.get(pid, 0)) and pid not in ancestors:
            ancestors.append(pid)
        return ancestors


def survey(marker: str, supervisor: int | None) -> Survey:
    matching = marked(marker)
    parents = {}
    for process in matching:  # read after all were listed: one that lost its parent meanwhile is unsupervised
        with suppress(psutil.NoSuchProcess):
            parents[process.pid] = process.ppid()
    return Survey(tuple(matching), parents, supervisor)


def unsupervised(marker: str, supervisor: int | None) -> list[psutil.Process]:
    """The marked processes that are not descendants of the supervisor."""
    return survey(marker, supervisor).unsupervised()


def end(processes: Iterable[psutil.Process], patience: float = 3.0) -> int:
    """Sends SIGTERM, and SIGKILL to those that live after `patience` seconds. Returns how many there were."""
    living = list(processes)
    for process in living:
        _signal(process, kill=False)
    _, left = psutil.wait_procs(living, timeout=patience)
    for process in left:
        _signal(process, kill=True)
    psutil.wait_procs(left, timeout=patience)
    return len(living)


def _signal(process: psutil.Process, kill: bool) -> None:
    try:
        process.kill() if kill else process.terminate()
    except psutil.NoSuchProcess:
        return


def wait_gone(pid: int, seconds: float) -> bool:
    """Whether the process ended, or became a zombie that nobody reaps, within `seconds`."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.1)
    return False
