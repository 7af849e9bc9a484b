"""What controller and agent share: a loop that survives errors, and log lines that are not repeated."""

import logging
import signal
import threading
import time
from collections.abc import Callable

from ratchet.errors import Refusal


def configure_logging() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)


def run(tick: Callable[[float], object], every: float, log: logging.Logger) -> None:
    """Ticks until SIGTERM or SIGINT. Every tick starts from the ledger, so ending on an error would only cost time."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    while not stop.is_set():
        try:
            tick(time.time())
        except Refusal as refusal:  # such as: supervisord is shutting down, the ledger is busy
            log.info("%s", refusal)
        except Exception:
            log.exception("a tick failed")
        stop.wait(every)


def is_recent(at: float, now: float, seconds: float) -> bool:
    """Whether at most so many seconds have passed since a moment.

    One that lies ahead was written before the clock was set back, and is not recent: nothing must wait for it.
    """
    return 0 <= now - at <= seconds


class LogOnce:
    """Logs a line about a recipe unless it repeats the recipe's last line."""

    def __init__(self, log: logging.Logger) -> None:
        self._log, self._last = log, dict[str, str]()

    def __call__(self, recipe: str, line: str) -> None:
        if line != self._last.get(recipe):
            self._log.info("%s: %s", recipe, line)
        self._last[recipe] = line
