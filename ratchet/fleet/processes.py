"""Finds this home's processes by the private marker that only its supervisor sets in their environment.

Flow runs outlive their worker, and a bento's worker lives in a session of its own, so neither
process groups nor parents tell which processes belong to a stack.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import psutil

MARK, PROGRAM = "RATCHET_PRIVATE_MARK", "RATCHET_PRIVATE_PROGRAM"


def marked(mark: str) -> list[psutil.Process]:
    """Every live process with this marker, but for the asking one and its ancestors."""
    own = {os.getpid(), *(p.pid for p in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid in own or process.environ().get(MARK) != mark:
                continue
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def environment(process: psutil.Process, name: str) -> str | None:
    try:
        return process.environ().get(name)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None


@dataclass(frozen=True)
class Survey:
    """All marked processes at one moment, and who began whom: one walk over the machine for all that is asked of it."""

    found: tuple[psutil.Process, ...]
    parents: Mapping[int, int]
    supervisor: int | None

    def unsupervised(self) -> list[psutil.Process]:
        """Those that are not below the supervisor."""
        return [p for p in self.found if self.supervisor is None or self.supervisor not in self._above(p.pid)]

    def youngest(self, pids: Iterable[int]) -> float:
        """When the youngest of these processes and their descendants began; 0 where none lives."""
        named, began = set(pids), 0.0
        for process in self.found:
            if named & {process.pid, *self._above(process.pid)}:
                with suppress(psutil.NoSuchProcess):
                    began = max(began, process.create_time())
        return began

    def below(self, pids: Iterable[int]) -> int:
        """How many descendants of these processes live."""
        named = set(pids)
        return sum(bool(named & set(self._above(process.pid))) for process in self.found)

    def _above(self, pid: int) -> list[int]:
        found: list[int] = []
        while (pid := self.parents.get(pid, 0)) and pid not in found:
            found.append(pid)
        return found


def survey(mark: str, supervisor: int | None) -> Survey:
    found = marked(mark)
    parents = {}
    for process in found:  # later than they were found: who lost its parent meanwhile is no longer supervised
        with suppress(psutil.NoSuchProcess):
            parents[process.pid] = process.ppid()
    return Survey(tuple(found), parents, supervisor)


def unsupervised(mark: str, supervisor: int | None) -> list[psutil.Process]:
    """The marked processes that are not below the supervisor."""
    return survey(mark, supervisor).unsupervised()


def end(processes: Iterable[psutil.Process], patience: float = 3.0) -> int:
    """SIGTERM, and SIGKILL for what is left after `patience` seconds. Returns how many there were."""
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
