"""Plays a stream on a real stack, period by period, and keeps what happened."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from expectations.triggers import Past
from ratchet.progress import Report
from ratchet.types import Level, Watched
from replays.driver import Done, Driver, Unanswered
from replays.stream import Part, Stream

_AT_ONCE, _SPAN = 100, 6 * 3600.0
"""Inputs of one request, and seconds between the first and the last of them, at most."""


@dataclass(frozen=True)
class Act:
    """What a person does at the beginning of a period."""

    what: str
    run: Callable[[Driver], Done]


EFFECTS = ("harmful", "unknown", "benign")
"""Of what is noticed, the worst first."""


@dataclass(frozen=True)
class Seen:
    """A finding, without its figures."""

    tier: str
    effect: str
    subject: str
    what: str


@dataclass(frozen=True)
class Acted:
    """What a person did, and what became of it."""

    what: str
    outcome: str
    done: bool
    """Whether it became what they wanted."""


@dataclass(frozen=True)
class Started:
    """A retraining that the loop started."""

    kind: str
    """Of its cause."""
    result: str
    """`released`, or what else it ended with."""
    seconds: float
    why: str = ""
    """Why it was not released, in a sentence."""

    @property
    def released(self) -> bool:
        return self.result == "released"


@dataclass(frozen=True)
class Period:
    begins: float
    """Seconds since 1970."""
    ends: float
    answered: int
    wrong: float
    """The sum of the losses of its answers, by their true labels."""
    limit: float | None
    """Of the mean loss, if it was watched; like what is measured and estimated, in the task's own unit."""
    measured: Level | None
    estimated: Level | None
    findings: tuple[Seen, ...]
    started: tuple[Started, ...]
    served: str
    """The version that answered."""
    champion: str
    """The one that serves from its end on."""
    acted: Acted | None = None
    """At its beginning."""
    failed: int = 0
    """Records whose request the service did not answer."""

    @property
    def loss(self) -> float:
        """The mean."""
        return self.wrong / max(self.answered, 1)


@dataclass(frozen=True)
class Replay:
    recipe: str
    scenario: str
    changes: float
    """When what is sent begins to change, in seconds since 1970; 0 if it does not, or more than once."""
    periods: tuple[Period, ...]
    marks: tuple[tuple[float, str], ...] = ()
    """What changes and when, for people."""

    @property
    def started(self) -> tuple[Started, ...]:
        return tuple(each for period in self.periods for each in period.started)

    @property
    def answered(self) -> int:
        return sum(period.answered for period in self.periods)

    @property
    def wrong(self) -> float:
        return sum(period.wrong for period in self.periods)

    @property
    def digest(self) -> str:
        """SHA-256 of the scenario and of what was decided in each period, and of no figure.

        That is findings, retrainings, versions, and what became of what people did.
        """
        decisions = [
            [
                [[seen.tier, seen.effect, seen.subject] for seen in period.findings],
                [[each.kind, each.result] for each in period.started],
                [period.acted.what, period.acted.done] if period.acted else None,
                period.served,
                period.champion,
            ]
            for period in self.periods
        ]
        return hashlib.sha256(json.dumps([self.recipe, self.scenario, decisions]).encode()).hexdigest()


def play(
    driver: Driver,
    stream: Stream,
    parts: Sequence[Part],
    report: Report,
    acts: Mapping[int, Act] = MappingProxyType({}),
) -> Iterator[Period]:
    """Sends each part in its own time, with the labels that come back until its end; then what is due is done.

    `acts` are what people do at the beginning of a part, by its number.
    """
    unsent = list[tuple[float, str, int, int]]()
    for number, part in enumerate(parts):
        act = acts.get(number)
        outcome = act.run(driver) if act else None
        acted = Acted(act.what, outcome.what, outcome.done) if act and outcome else None
        served, losses, failed = driver.champion(), list[np.ndarray](), 0
        for chosen in _requests(stream, part.rows):
            id = f"replay-{number}-{chosen[0]}"
            driver.turn(float(stream.at[chosen[0]]))
            try:
                outputs = driver.send(stream.inputs[chosen], id)
            except Unanswered as error:
                report(str(error))
                failed += len(chosen)
                continue
            losses.append(driver.recipe.answers.losses(stream.targets[chosen], outputs))
            unsent += [(float(stream.label_at[row]), id, place, int(row)) for place, row in enumerate(chosen)]
        driver.turn(part.ends)
        due = sorted(each for each in unsent if each[0] <= part.ends)
        unsent = [each for each in unsent if each[0] > part.ends]
        driver.label([(id, place, stream.labels[row]) for _, id, place, row in due])
        period = replace(_period(driver, part, np.concatenate([np.empty(0), *losses]), served, acted), failed=failed)
        report(_line(number, len(parts), period))
        yield period


def _requests(stream: Stream, rows: np.ndarray) -> Iterator[np.ndarray]:
    """The rows of each request: those of some hours, and not too many."""
    start = 0
    for stop in range(1, len(rows) + 1):
        if stop == len(rows) or stop - start == _AT_ONCE or stream.at[rows[stop]] - stream.at[rows[start]] > _SPAN:
            yield rows[start:stop]
            start = stop


def _period(driver: Driver, part: Part, losses: np.ndarray, served: str, acted: Acted | None) -> Period:
    before, scale, started = {past.id for past in driver.causes()}, driver.scale(), time.time()
    driver.collect()
    watched = driver.watched(started)
    driver.settle()
    new = [past for past in driver.causes() if past.id not in before]
    return Period(
        part.begins,
        part.ends,
        len(losses),
        float(losses.sum()),
        watched.limit * scale if watched else None,
        _scaled(watched.measured, scale) if watched else None,
        _scaled(watched.estimated, scale) if watched else None,
        _seen(watched),
        tuple(_started(driver, past) for past in new),
        served,
        driver.champion(),
        acted,
    )


def _scaled(level: Level | None, scale: float) -> Level | None:
    """The level in the task's own unit."""
    if level is None:
        return None
    return Level(level.loss * scale, level.low * scale, level.high * scale, level.records)


def _seen(watched: Watched | None) -> tuple[Seen, ...]:
    return tuple(Seen(f.tier, f.effect, f.subject, f.what) for f in watched.findings) if watched else ()


def _started(driver: Driver, past: Past) -> Started:
    result, seconds = past.result or "", (past.ended or 0.0) - (past.started or 0.0)
    return Started(past.kind, result, seconds, "" if result == "released" else driver.why(past))


def _line(number: int, count: int, period: Period) -> str:
    noticed = ", ".join(sorted({f"{seen.tier} {seen.effect}" for seen in period.findings})) or "nothing"
    runs = "".join(f"; {each.kind}: {each.result}{each.why and f' ({each.why})'}" for each in period.started)
    runs += f"; {period.failed} not answered" if period.failed else ""
    acted = f"{period.acted.what}: {period.acted.outcome}; " if period.acted else ""
    answers = f"{period.answered} answers, loss {period.loss:.3f}, version {period.champion}"
    return f"{number + 1}/{count}: {acted}{answers}; {noticed}{runs}"
