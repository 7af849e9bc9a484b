"""Moves the segments of a recipe's log from the hosts into the lake: each row once, however often it is killed."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ratchet.errors import Refusal
from ratchet.lake import predictions
from ratchet.lake.predictions import Segment
from ratchet.types import Endpoint, HostPort, from_json
from releases import api
from releases.ledger import Ledger
from releases.log_reader import Listed, LogReader

_AT_ONCE = 16
"""Segments that land in one commit."""


@dataclass(frozen=True)
class Collected:
    predictions: int = 0
    labels: int = 0
    lost: int = 0
    """Predictions of processes that ended, which should have been logged and were not."""
    problems: tuple[str, ...] = ()
    """Hosts whose log could not be read now."""


def collect(recipe: str, who: str, report: Callable[[str], None], ledger: Ledger | None = None) -> Collected:
    """Collects from every living host that serves the recipe. A host that does not answer is left for the next time."""
    total = Collected()
    for host, address in _readable(recipe, ledger or api.open_ledger()):
        reader = LogReader(address)
        try:
            own = _collect_host(recipe, host, reader, who)
        except Refusal as refusal:
            own = Collected(problems=(f"host {host}: {refusal}",))
        finally:
            reader.close()
        if own.predictions or own.labels or own.lost:
            report(f"host {host}: {own.predictions} predictions, {own.labels} labels, {own.lost} lost")
        total = Collected(
            total.predictions + own.predictions,
            total.labels + own.labels,
            total.lost + own.lost,
            (*total.problems, *own.problems),
        )
    return total


def _readable(recipe: str, ledger: Ledger) -> Iterator[tuple[str, HostPort]]:
    """An endpoint that is ready on each living host; any of them reads the whole host's log."""
    statuses = ledger.statuses("host")
    for host in api.living_hosts(ledger):
        endpoints = (from_json(Endpoint, endpoint) for endpoint in statuses[host].body["endpoints"])
        ready = (each.host_port for each in endpoints if each.recipe == recipe and each.ready)
        if (first := next(ready, None)) is not None:
            yield host, first


def _collect_host(recipe: str, host: str, reader: LogReader, who: str) -> Collected:
    listing = reader.listing()
    counts = {"predictions": 0, "feedback": 0}
    for (kind, process), group in itertools.groupby(listing.segments, lambda each: (each.kind, each.process)):
        listed = tuple(group)
        for part in (listed[at : at + _AT_ONCE] for at in range(0, len(listed), _AT_ONCE)):
            counts[kind] += _land(recipe, host, reader, kind, process, part, who)
            for segment in part:
                reader.remove(segment.name)
    lost = 0
    for writer in listing.writers:
        if not writer.alive:  # then each of its segments was complete, and has landed
            lost += predictions.note_end(recipe, writer.process, host, writer.taken, who)
            reader.remove(f"{writer.process}.counts")
    return Collected(counts["predictions"], counts["feedback"], lost)


def _land(
    recipe: str, host: str, reader: LogReader, kind: str, process: str, part: tuple[Listed, ...], who: str
) -> int:
    """Lands those of the segments that have not landed before a process was killed; the number of rows."""
    path = predictions.predictions(recipe) if kind == "predictions" else predictions.feedback(recipe)
    first = predictions.landed(path, process)
    segments = [Segment(each.number, reader.read(each)) for each in part if each.number >= first]
    if not segments:
        return 0
    if kind == "predictions":
        return predictions.land_predictions(recipe, process, host, segments, who)
    return predictions.land_feedback(recipe, process, segments, who)
