"""Gathers the evidence of one step: reads both arms' figures, and asks both where traffic is scarce.

A thread of its own, so that a bento that hangs never holds up the controller's tick. What the gateway
counted comes with the tick; what was gathered is handed over as a frozen `Evidence`.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import httpx
import numpy as np

from bentos import golden
from bentos.golden import Golden
from ratchet.answers import Short
from ratchet.errors import Refusal
from ratchet.fleet.gateway import Count
from ratchet.local_http import LOCAL
from ratchet.recipe import Releasing
from ratchet.settings import url_of
from ratchet.words import Check, Place
from releases import evidence
from releases.evidence import Evidence, Pace, Tally
from releases.figures import Reader, total
from releases.labels import Labelled

log = logging.getLogger("controller")
OLD, NEW = 0, 1
Kind = Literal["recorded", "synthetic"]
_CALIBRATION = 200
"""Answers of the champion that its p50 and p99 are taken from."""
_REMEMBERED, _PAIRS = 8192, 500
_LABELS_OVERLAP = 30.0
"""Seconds of labels that each look reads again: one that hung for a while must miss none. Each counts once."""
_BUSY = 20.0
"""Requests a second to the challenger from which on live traffic suffices."""


def inputs(recorded: Callable[[], bytes | None], known: Golden, number: int = 0) -> Iterator[tuple[Kind, np.ndarray]]:
    """What to ask at a release's step of this number: recorded requests, in the first step the golden inputs, each
    once; then synthetic ones made of those, others at each step.
    """
    chance, count = np.random.default_rng(number), len(known.inputs)
    left = iter(range(count if number == 0 else 0))
    while True:
        if raw := recorded():
            yield "recorded", known.contract.unpack(raw, 1)
        elif (at := next(left, None)) is not None:
            yield "recorded", known.inputs[at : at + 1]
        else:
            at = int(chance.integers(count))
            yield "synthetic", known.contract.vary(known.inputs[at : at + 1], chance)


def _fell(now: Count, before: Count) -> bool:
    """Whether the gateway began to count anew: it was restarted, or an arm that this one stood in for left."""
    return now.requests < before.requests or now.failed < before.failed or now.refused < before.refused


@dataclass
class Observer:
    """One step of a trial, or one bake: `places` are the endpoints of the two arms, champion first."""

    recipe: str
    plan: Releasing
    golden_set: Callable[[], Golden]
    only_probes: bool
    """The comparison: no traffic is expected."""
    pause: float
    """Seconds between two requests of its own; 0 is half as long as they take."""
    even: bool = True
    number: int = 0
    """Of the step."""
    mirrored: bool = False
    """Whether callers' requests reach both arms: then they are not asked again."""
    pairs: tuple[int, int] = (0, 0)
    """Compared and disagreed, from the steps before."""
    labels: Callable[[float], Mapping[str, int]] = lambda since: {}
    """The right answers that came back since then, by request id."""
    labelled: Labelled = field(default_factory=Labelled)
    """From the steps before, too: labels come late."""
    places: tuple[tuple[Place, ...], tuple[Place, ...]] = ((), ())
    slow: Pace | None = None
    _found: Evidence = field(default_factory=Evidence)
    _counts: tuple[Count, Count] | None = None
    _base: tuple[Count, Count] | None = None
    _again: int = 0
    _left: tuple[Kind, np.ndarray] | None = None
    """An input that was not asked of both."""
    _over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._readers: tuple[dict[Place, Reader], dict[Place, Reader]] = ({}, {})
        self._clients: dict[Place, httpx.Client] = {}
        self._known: Golden | None = None
        self._answers: tuple[dict[str, Short], dict[str, Short]] = ({}, {})
        self._raw: list[bytes] = []
        self._probes = [Count(), Count()]
        self._kinds = {"recorded": 0, "synthetic": 0}
        self._began = time.monotonic()
        self._inputs: Iterator[tuple[Kind, np.ndarray]] | None = None
        for work in (self._look, self._probe):
            threading.Thread(target=self._loop, args=(work,), daemon=True).start()

    def stop(self) -> None:
        self._over.set()

    def checks(self, counts: tuple[Count, Count]) -> tuple[tuple[Check, ...], bool | None]:
        """Every check, and whether both arms are sick; `counts` are the gateway's, ever."""
        if self._base is None or any(_fell(now, before) for now, before in zip(counts, self._base, strict=True)):
            self._base = counts if self._base is None else (Count(), Count())
        self._counts = counts
        found = self._found
        live = [
            Tally(n.requests - b.requests, n.failed - b.failed, n.refused - b.refused)
            for n, b in zip(counts, self._base, strict=True)
        ]
        # In the comparison callers reach the champion alone: what they saw says nothing of the other.
        asked = [Tally(), Tally()] if self.only_probes else live
        old, new = (
            replace(tally, requests=seen.requests + sent.requests, failed=seen.failed + sent.failed)
            for tally, seen, sent in zip((found.champion, found.challenger), asked, self._probes, strict=True)
        )
        whole = replace(found, champion=old, challenger=new, live=(asked[OLD], asked[NEW]))
        took = time.monotonic() - self._began
        even = self.even and not (self.only_probes and live[OLD].requests > _BUSY * max(took, 1.0))
        return evidence.checks(whole, self.plan, self.slow, even), evidence.sicker(whole, self.plan)

    @property
    def gathered(self) -> Evidence:
        return self._found

    def _loop(self, work: Callable[[], float]) -> None:
        while not self._over.is_set():
            try:
                wait = work()
            except Exception:
                log.exception("%s: figures could not be gathered", self.recipe)
                wait = 1.0
            self._over.wait(wait)

    def _golden(self) -> Golden:
        if self._known is None:
            self._known = self.golden_set()
        return self._known

    def _look(self) -> float:
        errors = []
        self.labelled.came(self.labels(time.time() - _LABELS_OVERLAP))
        for side in (OLD, NEW):
            readers = self._readers[side]
            for place in self.places[side]:
                try:
                    if place not in readers:
                        readers[place] = Reader(place)
                    answered = readers[place].look()
                except Refusal as refusal:
                    errors.append(str(refusal))
                    continue
                for one in answered:
                    self._pair(side, one.id, one.answer)
                    if isinstance(one.answer, int):  # a forecast's truth comes as data, not as a label
                        self.labelled.answered(side, one.id.partition(" ")[0], one.answer)
                    if side == OLD and one.input and not self.mirrored and len(self._raw) < _REMEMBERED:
                        self._raw.append(one.input)
        within = tuple(total(r.within for r in self._readers[side].values()) for side in (OLD, NEW))
        if self.slow and evidence.stale(Tally(within=within[OLD]), self.slow, self.plan):
            self._again = self.slow.again + 1
            self.slow = None
            self._rebase()
            within = ((), ())
        elif self.slow is None and (first := evidence.pace(Tally(within=within[OLD]), _CALIBRATION, self._again)):
            self.slow = first
            self._rebase()
            within = ((), ())
        self._found = replace(
            self._found, champion=Tally(within=within[OLD]), challenger=Tally(within=within[NEW]),
            compared=self.pairs[0], disagreed=self.pairs[1], errors=tuple(errors),
            labelled=_two(self.labelled.of), wrong=_two(self.labelled.wrong),
            recorded=self._kinds["recorded"], synthetic=self._kinds["synthetic"],
        )  # fmt: skip
        return 0.5

    def _rebase(self) -> None:
        for reader in (*self._readers[OLD].values(), *self._readers[NEW].values()):
            reader.rebase()

    def _pair(self, side: int, id: str, answer: Short) -> None:
        other = self._answers[1 - side].pop(id, None)
        if other is None:
            mine = self._answers[side]
            mine[id] = answer
            if len(mine) > _REMEMBERED:
                mine.pop(next(iter(mine)))
        else:
            numbers = isinstance(answer, int) and isinstance(other, int)
            self._compared(answer != other if numbers else not self._golden().answers.same(answer, other))

    def _compared(self, differ: bool) -> None:
        with self._lock:
            self.pairs = (self.pairs[0] + 1, self.pairs[1] + differ)

    def _scarce(self) -> bool:
        """Whether live traffic alone would take long."""
        if self.only_probes or self._counts is None or self._base is None:
            return self.only_probes
        took = time.monotonic() - self._began
        least = min(now.requests - base.requests for now, base in zip(self._counts, self._base, strict=True))
        # Where nothing is mirrored, no caller's request is answered twice.
        return took > 3 and (least < _BUSY * took or self.pairs[0] < _PAIRS)

    def _probe(self) -> float:
        """The same input to both arms; each host of an arm in its turn, at random."""
        if not all(self.places) or not self._scarce():
            return 0.2
        if self._inputs is None:
            self._inputs = inputs(lambda: self._raw.pop() if self._raw else None, self._golden(), self.number)
        try:
            kind, asked = self._left or next(self._inputs)
        except Exception:
            self._inputs = None  # a generator that raised is at its end
            raise
        self._left = None
        started = time.monotonic()
        known, answers = self._golden(), []
        for side in random.sample((OLD, NEW), 2):
            place = random.choice(self.places[side])
            sent = self._probes[side]
            try:
                if place not in self._clients:
                    self._clients[place] = httpx.Client(base_url=url_of(*place), timeout=5, **LOCAL)
                answers.append(known.answers.short(golden.ask(self._clients[place], known, asked)[0]))
                self._probes[side] = Count(sent.requests + 1, sent.failed)
            except Refusal as refusal:
                # Where nobody listens, no version answers badly: the agent tells of a process that died, or the host
                # is gone. Refused at once, such requests would soon outnumber those that are answered.
                if isinstance(refusal.__cause__, (httpx.ConnectError, httpx.ConnectTimeout)):
                    self._left = kind, asked
                else:
                    self._probes[side] = Count(sent.requests + 1, sent.failed + 1)
        if self._left:  # it waits for somebody to ask
            return max(self.pause, 0.2)
        if len(answers) == 2:
            self._compared(not known.answers.same(*answers))
        self._kinds[kind] += 1
        return self.pause or (time.monotonic() - started) / 2


def _two(counts: list[int]) -> tuple[int, int]:
    return counts[OLD], counts[NEW]


def sides(counts: Mapping[Any, Count], recipe: str, arms: tuple[str, str]) -> tuple[Count, Count]:
    """The gateway's counts of both arms."""
    old, new = (counts.get((recipe, arm), Count()) for arm in arms)
    return old, new
