"""Progress of what takes longer than people like to wait: a line every few seconds."""

import time
from collections.abc import Callable

Report = Callable[[str], None]
SECONDS = 5.0


def silent(line: str) -> None:
    """Reports to nobody."""


def paced(report: Report) -> Report:
    """Passes on a line if the one before, or the start, was some seconds ago."""
    last = time.monotonic()

    def pass_on(line: str) -> None:
        nonlocal last
        if time.monotonic() - last >= SECONDS:
            report(line)
            last = time.monotonic()

    return pass_on
