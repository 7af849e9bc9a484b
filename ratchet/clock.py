"""The time of data: of predictions, labels, batches and causes. It is the real time, except in a replay.

A replay plays past data on a real stack. The setting `clock` then names a file with a line `real played` for each time
that it turned this clock, both in seconds since 1970; from there the clock goes on as usual. Deadlines, leases and what
processes report of themselves are always in real time.
"""

import bisect
import os
import time
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from ratchet.errors import Refusal
from ratchet.settings import settings


def played(real: float) -> float:
    """What a real moment plays, both in seconds since 1970."""
    path = settings().clock
    if not path:
        return real
    try:
        reals, turned = _turns(path, os.stat(path).st_size)
    except (OSError, ValueError) as error:
        raise Refusal(f"the clock of a replay cannot be read ({error})", path, "Unset RATCHET_CLOCK") from error
    at = bisect.bisect_right(reals, real) - 1
    return real if at < 0 else turned[at] + real - reals[at]


def now() -> float:
    """In seconds since 1970."""
    return played(time.time())


def utc() -> datetime:
    return datetime.fromtimestamp(now(), UTC)


def turn(path: Path, to: float) -> None:
    """Turns the clock of a replay; `to` is in seconds since 1970."""
    with path.open("a", encoding="ascii") as file:
        file.write(f"{time.time():.6f} {to:.6f}\n")


@lru_cache(maxsize=1)
def _turns(path: str, size: int) -> tuple[list[float], list[float]]:
    """Of the file with this size: the moments at which the clock was turned, and what it was turned to."""
    lines = Path(path).read_text(encoding="ascii").splitlines()
    pairs = [tuple(map(float, line.split())) for line in lines]
    return [real for real, _ in pairs], [to for _, to in pairs]
