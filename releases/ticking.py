"""What controller and agent share: a loop that outlives its errors, and lines that are told once."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable

from ratchet.errors import Refusal


def logs() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)


def run(tick: Callable[[float], object], every: float, log: logging.Logger) -> None:
    """Ticks until SIGTERM or SIGINT. The next tick starts from the ledger anyway; dying would only cost time."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    while not stop.is_set():
        try:
            tick(time.time())
        except Refusal as refusal:  # supervisord is on its way down, the ledger is busy
            log.info("%s", refusal)
        except Exception:
            log.exception("a tick failed")
        stop.wait(every)


class Once:
    """Logs a line about a recipe unless it was the last one told."""

    def __init__(self, log: logging.Logger) -> None:
        self._log, self._last = log, dict[str, str]()

    def __call__(self, recipe: str, line: str) -> None:
        if line != self._last.get(recipe):
            self._log.info("%s: %s", recipe, line)
        self._last[recipe] = line
