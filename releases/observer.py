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
from pathlib import Path
from typing import Any, Literal

import httpx
import numpy as np

from bentos import golden
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


def inputs(
    recorded: Callable[[], bytes | None], golden_set: Callable[[], Path], number: int = 0
) -> Iterator[tuple[Kind, np.ndarray]]:
    """What to ask at a release's step of this number: recorded requests, in the first step the golden inputs, each
    once; then synthetic ones made of those, others at each step.
    """
    with np.load(golden_set(), allow_pickle=False) as kept:
        known = kept["images"]
    chance = np.random.default_rng(number)
    left = iter(known if number == 0 else ())
    while True:
        if raw := recorded():
            yield "recorded", np.frombuffer(raw, known.dtype).reshape(1, *known.shape[1:])
        elif (image := next(left, None)) is not None:
            yield "recorded", image[None]
        else:
            image = known[chance.integers(len(known))].astype(np.int16)
            moved = np.roll(image, chance.integers(-1, 2, size=2), axis=(0, 1))
            limits = np.iinfo(known.dtype)
            noisy = moved + np.where(image > 0, chance.integers(-8, 9, size=image.shape), 0)
            yield "synthetic", noisy.clip(limits.min, limits.max).astype(known.dtype)[None]


def _fell(now: Count, before: Count) -> bool:
    """Whether the gateway began to count anew: it was restarted, or an arm that this one stood in for left."""
    return now.requests < before.requests or now.failed < before.failed or now.refused < before.refused


@dataclass
class Observer:
    """One step of a trial, or one bake: `places` are the endpoints of the two arms, champion first."""

    recipe: str
    plan: Releasing
    golden_set: Callable[[], Path]
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
    _over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._readers: tuple[dict[Place, Reader], dict[Place, Reader]] = ({}, {})
        self._clients: dict[Place, httpx.Client] = {}
        self._answers: tuple[dict[str, int], dict[str, int]] = ({}, {})
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

    def _pair(self, side: int, id: str, answer: int) -> None:
        other = self._answers[1 - side].pop(id, None)
        if other is None:
            mine = self._answers[side]
            mine[id] = answer
            if len(mine) > _REMEMBERED:
                mine.pop(next(iter(mine)))
        else:
            self._compared(answer != other)

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
            self._inputs = inputs(lambda: self._raw.pop() if self._raw else None, self.golden_set, self.number)
        try:
            kind, image = next(self._inputs)
        except Exception:
            self._inputs = None  # a generator that raised is at its end
            raise
        started = time.monotonic()
        answers: list[int | None] = [None, None]
        for side in random.sample((OLD, NEW), 2):
            place = random.choice(self.places[side])
            sent = self._probes[side]
            try:
                if place not in self._clients:
                    self._clients[place] = httpx.Client(base_url=url_of(*place), timeout=5, **LOCAL)
                answers[side] = int(golden.ask(self._clients[place], self.recipe, image)[0].argmax())
                self._probes[side] = Count(sent.requests + 1, sent.failed)
            except Refusal:
                self._probes[side] = Count(sent.requests + 1, sent.failed + 1)
        if None not in answers:
            self._compared(answers[OLD] != answers[NEW])
        self._kinds[kind] += 1
        return self.pause or (time.monotonic() - started) / 2


def _two(counts: list[int]) -> tuple[int, int]:
    return counts[OLD], counts[NEW]


def sides(counts: Mapping[Any, Count], recipe: str, arms: tuple[str, str]) -> tuple[Count, Count]:
    """The gateway's counts of both arms."""
    old, new = (counts.get((recipe, arm), Count()) for arm in arms)
    return old, new
