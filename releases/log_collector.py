"""Moves the segments of a recipe's log from the hosts into the lake: each row once, however often it is killed."""

import itertools
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bentos.segments import Writer
from ratchet.errors import Refusal
from ratchet.lake import predictions
from ratchet.lake.predictions import Segment
from ratchet.recipe import Recipe
from ratchet.types import Endpoint, HostPort, from_json
from releases import api, label_file
from releases.ledger import Ledger, hold_lease
from releases.log_reader import Listed, LogReader

_AT_ONCE = 16
"""Segments that land in one commit."""

_PATIENCE_SECONDS = 900.0
"""Time that a first collecting of a long outage may take."""


@dataclass(frozen=True)
class Collected:
    predictions: int = 0
    labels: int = 0
    lost: int = 0
    """Predictions of processes that ended, which should have been logged and were not."""
    problems: tuple[str, ...] = ()
    """Hosts whose log could not be read now."""


@contextmanager
def holding(recipe: str, ledger: Ledger) -> Iterator[None]:
    """Holds the lease of a recipe's log while the block runs: one collects, joins, lands or erases at a time.

    Raises Refusal if another process holds it for long.
    """
    holder = f"{socket.gethostname()} {uuid.uuid4()}"
    with hold_lease(ledger, f"log:{recipe}", holder, patience=_PATIENCE_SECONDS):
        yield


def collect(recipe: Recipe, who: str, report: Callable[[str], None], ledger: Ledger) -> Collected:
    """Collects from every host that serves the recipe. One that cannot be reached is named, and left for the next time.

    The caller holds the lease of the recipe's log, see `holding`.
    """
    readable = _readable(recipe.name, ledger)
    missing = sorted(ledger.statuses("host").keys() - readable.keys())
    total = Collected(problems=tuple(f"host {host} has no endpoint of the recipe that answers" for host in missing))
    for host, addresses in readable.items():
        own = _collect_host(recipe, host, addresses, who, ledger)
        if own.predictions or own.labels or own.lost:
            report(f"host {host}: {own.predictions} predictions, {own.labels} labels, {own.lost} lost")
        total = Collected(
            total.predictions + own.predictions,
            total.labels + own.labels,
            total.lost + own.lost,
            (*total.problems, *own.problems),
        )
    return total


def _collect_host(recipe: Recipe, host: str, addresses: Sequence[HostPort], who: str, ledger: Ledger) -> Collected:
    """From the whole log of a host, once each of its endpoints that answers has completed its own segments.

    One of a revision that drains may end meanwhile.
    """
    problem, answered = "", list[HostPort]()
    for address in addresses:
        try:
            with closing(LogReader(address)) as reader:
                reader.listing()
                answered.append(address)
        except Refusal as refusal:
            problem = f"host {host}: {refusal}"
    for address in answered:
        try:
            with closing(LogReader(address)) as reader:
                return _Host(recipe, host, reader, who, ledger).collect()
        except Refusal as refusal:
            problem = f"host {host}: {refusal}"
    return Collected(problems=(problem,))


def _readable(recipe: str, ledger: Ledger) -> dict[str, list[HostPort]]:
    """The endpoints that are ready on each living host that has one, the youngest first: older ones may be ending."""
    statuses, readable = ledger.statuses("host"), dict[str, list[HostPort]]()
    for host in api.living_hosts(ledger):
        endpoints = [from_json(Endpoint, endpoint) for endpoint in statuses[host].body["endpoints"]]
        ready = [each for each in endpoints if each.recipe == recipe and each.ready]
        if ready:
            youngest_first = sorted(ready, key=lambda each: each.since, reverse=True)
            readable[host] = [each.host_port for each in youngest_first]
    return readable


def _living(writers: Iterable[Writer]) -> int:
    """Rows that processes which live know to be lost."""
    return sum(writer.lost for writer in writers if writer.alive)


@dataclass(frozen=True)
class _Host:
    """One host's log of a recipe."""

    recipe: Recipe
    name: str
    reader: LogReader
    who: str
    ledger: Ledger

    def collect(self) -> Collected:
        listing = self.reader.listing()
        counts, unfinished = {"predictions": 0, "feedback": 0}, set[str]()
        for (kind, process), group in itertools.groupby(listing.segments, lambda each: (each.kind, each.process)):
            listed = tuple(group)
            for part in (listed[at : at + _AT_ONCE] for at in range(0, len(listed), _AT_ONCE)):
                counts[kind] += self._land(kind, process, part)
                done = predictions.landed(self._table(kind), process)
                for segment in part:
                    if segment.number < done:
                        self.reader.remove(segment.name)
                    else:
                        unfinished.add(process)
        lost = 0
        self.ledger.publish(f"lost:{self.recipe.name} {self.name}", {"lost": _living(listing.writers)}, time.time())
        for writer in listing.writers:
            # Each segment of a dead process was complete, and has landed unless it is unfinished.
            if not writer.alive and writer.process not in unfinished:
                lost += predictions.note_end(self.recipe.name, writer.process, self.name, writer.taken, self.who)
                self.reader.remove(f"{writer.process}.counts")
        return Collected(counts["predictions"], counts["feedback"], lost)

    def _table(self, kind: str) -> Path:
        name = self.recipe.name
        return predictions.predictions(name) if kind == "predictions" else predictions.feedback(name)

    def _land(self, kind: str, process: str, part: tuple[Listed, ...]) -> int:
        """Lands those of the segments that have not landed before a process was killed; the number of rows."""
        name, first = self.recipe.name, predictions.landed(self._table(kind), process)
        segments = [Segment(each.number, self.reader.read(each)) for each in part if each.number >= first]
        if not segments:
            return 0
        if kind == "predictions":
            return predictions.land_predictions(name, process, self.name, segments, first, self.who)
        # First, since the same labels again change nothing: a version on trial is compared by them.
        if on_trial := label_file.classes(self.recipe.answers, predictions.labels_of(segments)):
            self.ledger.add_labels(name, on_trial, time.time())
        return predictions.land_feedback(name, process, segments, first, self.who)
