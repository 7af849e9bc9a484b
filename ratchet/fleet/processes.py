"""Finds this home's processes by the private marker that only its supervisor sets in their environment.

Flow runs outlive their worker, and a bento's worker lives in a session of its own, so neither
process groups nor parents tell which processes belong to a stack.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress

import psutil

MARK, PROGRAM = "RATCHET_PRIVATE_MARK", "RATCHET_PRIVATE_PROGRAM"


def marked(mark: str) -> list[psutil.Process]:
    """Every live process with this marker, but for the asking one and its ancestors."""
    own = {os.getpid(), *(p.pid for p in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid in own or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if process.environ().get(MARK) == mark:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def environment(process: psutil.Process, name: str) -> str | None:
    try:
        return process.environ().get(name)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None


def below(pid: int | None) -> set[int]:
    """The process and all its descendants; nothing for None."""
    if pid is None:
        return set()
    try:
        return {pid, *(p.pid for p in psutil.Process(pid).children(recursive=True))}
    except psutil.NoSuchProcess:
        return set()


def youngest(pids: Iterable[int]) -> float:
    """When the youngest of these processes and their descendants began; 0 where none lives."""
    began = 0.0
    for pid in {q for p in pids for q in below(p or None)}:
        with suppress(psutil.NoSuchProcess):
            began = max(began, psutil.Process(pid).create_time())
    return began


def unsupervised(mark: str, supervisor: int | None) -> list[psutil.Process]:
    """The marked processes that are not below the supervisor."""
    found = marked(mark)
    tree = below(supervisor)  # later: what is born in between is supervised
    return [p for p in found if p.pid not in tree]


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
