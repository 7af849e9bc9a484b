"""Collects the evidence of one step: reads both revisions' metrics, and sends both requests if traffic is scarce.

It has threads of its own, so a bento that hangs never delays the controller's tick. The gateway's counts come with
the tick; what was collected is handed over as a frozen `Evidence`.
"""

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
from ratchet.answers import Compact
from ratchet.errors import Refusal
from ratchet.fleet.gateway import Count
from ratchet.local_http import LOCAL
from ratchet.recipe import ReleasePlan
from ratchet.settings import url_of
from ratchet.types import Check, HostPort
from releases import evidence
from releases.evidence import Evidence, Latencies, Tally
from releases.labels import Labelled
from releases.metrics_reader import MetricsReader, total

log = logging.getLogger("controller")
OLD, NEW = 0, 1
"""The two sides: baseline and candidate."""
Kind = Literal["recorded", "synthetic"]
_LATENCY_RESPONSES = 200
"""Responses of the baseline from which its p50 and p99 are taken."""
_MAX_KEPT, _MIN_PAIRS = 8192, 500
_LABELS_OVERLAP = 30.0
"""Seconds of labels that are read again each time, so that none is missed after a hang. Each counts once."""
_WAIT_SECONDS = 3.0
"""In which callers may show that they suffice."""
_SUFFICIENT_RATE = 20.0
"""Requests a second to the candidate from which callers' traffic suffices."""


def inputs(
    recorded: Callable[[], bytes | None], golden_set: Golden, number: int = 0
) -> Iterator[tuple[Kind, np.ndarray]]:
    """The inputs of Ratchet's own requests at the step of this number.

    Recorded requests come first; then, in the first step, each golden input once; then synthetic variations of the
    golden inputs, which differ from step to step.
    """
    rng, count = np.random.default_rng(number), len(golden_set.inputs)
    unused = iter(range(count if number == 0 else 0))
    while True:
        if raw := recorded():
            yield "recorded", golden_set.contract.unpack(raw, 1)
        elif (at := next(unused, None)) is not None:
            yield "recorded", golden_set.inputs[at : at + 1]
        else:
            at = int(rng.integers(count))
            yield "synthetic", golden_set.contract.vary(golden_set.inputs[at : at + 1], rng)


def _decreased(now: Count, before: Count) -> bool:
    """Whether the gateway counts from zero again: it restarted, or the fallback that counted for this one left."""
    return now.requests < before.requests or now.failed < before.failed or now.refused < before.refused


@dataclass
class EvidenceCollector:
    """One step of a trial, or one bake time. Pairs are in the order baseline, candidate."""

    recipe: str
    plan: ReleasePlan
    load_golden: Callable[[], Golden]
    own_requests_only: bool
    """The comparison: no traffic is expected."""
    pause: float
    """Seconds between two own requests; 0 means half as long as they take."""
    equal_load: bool = True
    """Whether the candidate carries no more load than the baseline."""
    number: int = 0
    """The number of the step."""
    few_callers: bool = False
    """Whether the step before had too few callers, so that this one need not find out."""
    mirrored: bool = False
    """Whether callers' requests reach both revisions: then they are not replayed."""
    pairs: tuple[int, int] = (0, 0)
    """Compared and disagreed, including the steps before."""
    labels: Callable[[float], Mapping[str, int]] = lambda since: {}
    """The labels that came back since then, by request id."""
    labelled: Labelled = field(default_factory=Labelled)
    """Includes the steps before, since labels come late."""
    addresses: tuple[tuple[HostPort, ...], tuple[HostPort, ...]] = ((), ())
    latencies: Latencies | None = None
    collected: Evidence = field(init=False, default_factory=Evidence)
    _counts: tuple[Count, Count] | None = None
    _counts_at_start: tuple[Count, Count] | None = None
    _counted_since: float = 0.0
    _resets: int = 0
    _unsent: tuple[Kind, np.ndarray] | None = None
    """An input that could not be sent to both."""
    _stopped: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._readers: tuple[dict[HostPort, MetricsReader], dict[HostPort, MetricsReader]] = ({}, {})
        self._clients: dict[HostPort, httpx.Client] = {}
        self._golden_set: Golden | None = None
        self._answers: tuple[dict[str, Compact], dict[str, Compact]] = ({}, {})
        self._raw_inputs: list[bytes] = []
        self._own = [Count(), Count()]
        self._kinds = {"recorded": 0, "synthetic": 0}
        self._started = time.monotonic()
        self._inputs: Iterator[tuple[Kind, np.ndarray]] | None = None
        for work in (self._read, self._request):
            threading.Thread(target=self._loop, args=(work,), daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def checks(self, counts: tuple[Count, Count]) -> tuple[tuple[Check, ...], bool | None]:
        """Every check, and which revision is worse if both are unhealthy; `counts` are the gateway's totals."""
        if self._counts_at_start is None or any(
            _decreased(now, base) for now, base in zip(counts, self._counts_at_start, strict=True)
        ):
            self._counts_at_start = counts if self._counts_at_start is None else (Count(), Count())
            self._counted_since = time.monotonic()
        self._counts = counts
        collected = self.collected
        traffic = [
            Tally(now.requests - base.requests, now.failed - base.failed, now.refused - base.refused)
            for now, base in zip(counts, self._counts_at_start, strict=True)
        ]
        # In the comparison callers reach the baseline alone, so their requests say nothing about the candidate.
        callers = [Tally(), Tally()] if self.own_requests_only else traffic
        old, new = (
            replace(tally, requests=seen.requests + own.requests, failed=seen.failed + own.failed)
            for tally, seen, own in zip((collected.baseline, collected.candidate), callers, self._own, strict=True)
        )
        complete = replace(collected, baseline=old, candidate=new, callers=(callers[OLD], callers[NEW]))
        seconds = max(time.monotonic() - self._started, 1.0)
        busy = self.own_requests_only and traffic[OLD].requests > _SUFFICIENT_RATE * seconds
        checks = evidence.checks(complete, self.plan, self.latencies, self.equal_load and not busy)
        return checks, evidence.candidate_is_worse(complete, self.plan)

    def _loop(self, work: Callable[[], float]) -> None:
        while not self._stopped.is_set():
            try:
                wait = work()
            except Exception:
                log.exception("%s: evidence could not be collected", self.recipe)
                wait = 1.0
            self._stopped.wait(wait)

    def _golden(self) -> Golden:
        if self._golden_set is None:
            self._golden_set = self.load_golden()
        return self._golden_set

    def _read(self) -> float:
        """Reads the metrics of every endpoint; returns the seconds until the next call."""
        errors = []
        self.labelled.add_labels(self.labels(time.time() - _LABELS_OVERLAP))
        for side in (OLD, NEW):
            for address in self.addresses[side]:
                try:
                    self._read_endpoint(side, address)
                except Refusal as refusal:
                    errors.append(str(refusal))
        cumulative = tuple(total(reader.cumulative for reader in self._readers[side].values()) for side in (OLD, NEW))
        if self._measure_latencies(Tally(cumulative=cumulative[OLD])):
            cumulative = ((), ())
        self.collected = replace(
            self.collected,
            baseline=Tally(cumulative=cumulative[OLD]),
            candidate=Tally(cumulative=cumulative[NEW]),
            compared=self.pairs[0],
            disagreed=self.pairs[1],
            errors=tuple(errors),
            labelled=(self.labelled.total[OLD], self.labelled.total[NEW]),
            wrong=(self.labelled.wrong[OLD], self.labelled.wrong[NEW]),
            recorded=self._kinds["recorded"],
            synthetic=self._kinds["synthetic"],
        )
        return 0.5

    def _read_endpoint(self, side: int, address: HostPort) -> None:
        readers = self._readers[side]
        if address not in readers:
            readers[address] = MetricsReader(address)
        for answered in readers[address].read():
            self._pair(side, answered.id, answered.answer)
            if isinstance(answered.answer, int):  # the truth of a forecast comes as data, not as a label
                self.labelled.add_answer(side, answered.id.partition(" ")[0], answered.answer)
            if side == OLD and answered.input and not self.mirrored and len(self._raw_inputs) < _MAX_KEPT:
                self._raw_inputs.append(answered.input)

    def _measure_latencies(self, baseline: Tally) -> bool:
        """Measures the baseline's latencies, or discards stale ones; whether all counts start again."""
        if self.latencies and evidence.stale(baseline, self.latencies, self.plan):
            self._resets = self.latencies.resets + 1
            self.latencies = None
        elif self.latencies is None and (measured := evidence.latencies(baseline, _LATENCY_RESPONSES, self._resets)):
            self.latencies = measured
        else:
            return False
        for reader in (*self._readers[OLD].values(), *self._readers[NEW].values()):
            reader.reset()
        return True

    def _pair(self, side: int, id: str, answer: Compact) -> None:
        other = self._answers[1 - side].pop(id, None)
        if other is None:
            kept = self._answers[side]
            kept[id] = answer
            if len(kept) > _MAX_KEPT:
                kept.pop(next(iter(kept)))
        elif isinstance(answer, int) and isinstance(other, int):
            self._count_pair(answer != other)
        else:
            self._count_pair(not self._golden().answers.agree(answer, other))

    def _count_pair(self, differ: bool) -> None:
        with self._lock:
            self.pairs = (self.pairs[0] + 1, self.pairs[1] + differ)

    def _is_scarce(self) -> bool:
        """Whether callers' traffic alone would take long."""
        if self.own_requests_only or self._counts is None:
            return self.own_requests_only
        seconds = time.monotonic() - self._counted_since
        # Without a mirror, no caller's request is answered by both.
        scarce = min(self._callers_requests()) < _SUFFICIENT_RATE * seconds or self.pairs[0] < _MIN_PAIRS
        return scarce and (self.few_callers or seconds > _WAIT_SECONDS)

    def _callers_requests(self) -> tuple[int, ...]:
        """Those that the gateway has sent to each revision since its counts are known."""
        assert self._counts is not None
        assert self._counts_at_start is not None
        pairs = zip(self._counts, self._counts_at_start, strict=True)
        return tuple(now.requests - base.requests for now, base in pairs)

    def had_few_callers(self) -> bool:
        """Whether all callers of this step together were too few for one revision; no if they were not counted."""
        if self._counts is None:
            return False
        return sum(self._callers_requests()) < _SUFFICIENT_RATE * (time.monotonic() - self._counted_since)

    def _request(self) -> float:
        """Sends the same input to a random endpoint of each revision; returns the seconds until the next call."""
        if not all(self.addresses) or not self._is_scarce():
            return 0.2
        if self._inputs is None:
            recorded = self._raw_inputs
            self._inputs = inputs(lambda: recorded.pop() if recorded else None, self._golden(), self.number)
        try:
            kind, input = self._unsent or next(self._inputs)
        except Exception:
            self._inputs = None  # a generator that raised has ended
            raise
        self._unsent = None
        started = time.monotonic()
        answers = []
        for side in random.sample((OLD, NEW), 2):
            own = self._own[side]
            try:
                answers.append(self._send(random.choice(self.addresses[side]), input))
                self._own[side] = Count(own.requests + 1, own.failed)
            except Refusal as refusal:
                # Nobody listens there: the agent reports a dead process, or the host is gone. Such requests return
                # at once, so they would soon outnumber those that are answered. They count for neither revision.
                if isinstance(refusal.__cause__, (httpx.ConnectError, httpx.ConnectTimeout)):
                    self._unsent = kind, input
                else:
                    self._own[side] = Count(own.requests + 1, own.failed + 1)
        if self._unsent:
            return max(self.pause, 0.2)
        if len(answers) == 2:
            self._count_pair(not self._golden().answers.agree(*answers))
        self._kinds[kind] += 1
        return self.pause or (time.monotonic() - started) / 2

    def _send(self, address: HostPort, input: np.ndarray) -> Compact:
        if address not in self._clients:
            self._clients[address] = httpx.Client(base_url=url_of(*address), timeout=5, **LOCAL)
        known = self._golden()
        return known.answers.compact(golden.infer(self._clients[address], known, input)[0])


def counts_of(counts: Mapping[Any, Count], recipe: str, revisions: tuple[str, str]) -> tuple[Count, Count]:
    """The gateway's counts of both revisions."""
    old, new = (counts.get((recipe, revision), Count()) for revision in revisions)
    return old, new
