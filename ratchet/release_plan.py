"""How a release proceeds, and what counts as worse, as a recipe states it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ratchet.bounds import Count, NotNegative, Percent, Probability, Share
from ratchet.errors import Refusal


@dataclass(frozen=True)
class Bound:
    """How much worse than the baseline's a rate may be.

    A check fails if the rate is shown to be worse by more than `tolerance`. It passes if the rate is shown to be
    worse by at most `margin`.
    """

    tolerance: Share
    margin: Share


@dataclass(frozen=True)
class Step:
    """One step of a release: percent of the traffic, and percent that is mirrored with the responses discarded."""

    weight: Percent = 0
    mirror: Percent = 0

    def __str__(self) -> str:
        if self.weight:
            return f"{self.weight} %"
        return f"a shadow of {self.mirror} %" if self.mirror else "the comparison"


STRATEGIES = ("canary", "blue_green", "all_at_once")


@dataclass(frozen=True)
class ReleasePlan:
    """How a release proceeds, and what counts as worse.

    `false_alarm` is the probability that a good version is ever stopped. The bounds are differences to the rate of
    the baseline, except `disagreed`, which bounds a rate of its own.
    """

    steps: tuple[Step, ...] = (Step(), Step(mirror=20), Step(5), Step(25), Step(50))
    """An empty step compares the two revisions on Ratchet's own requests, without traffic for the new one."""
    step_seconds: NotNegative = 900.0
    """Time limit for a step to gather the evidence that it needs."""
    bake_seconds: NotNegative = 1800.0
    """How long the old champion stays warm after the last step while the checks continue."""
    bake_mirror: Percent = 10
    """Percent of the traffic that is mirrored to the old champion in the bake time, for comparison."""
    max_surge: Count = 2
    """Number of hosts that warm the new revision at the same time."""
    false_alarm: Probability = 0.01
    failed: Bound = Bound(0.0, 0.01)
    """Requests that failed or timed out."""
    refused: Bound = Bound(0.02, 0.10)
    """Requests answered with 4xx."""
    latency_p50: Bound = Bound(0.15, 0.30)
    """Responses slower than the baseline's median."""
    latency_p99: Bound = Bound(0.02, 0.05)
    """Responses slower than the baseline's 99th percentile."""
    disagreed: Bound = Bound(0.15, 0.18)
    """Inputs that the two revisions answer differently."""
    wrong: Bound = Bound(0.0, 0.05)
    """Predictions whose label came back and differs."""
    unhealthy: Share = 0.2
    """Share of failed requests from which a revision is unhealthy, whatever the other one does."""

    def with_strategy(self, strategy: str) -> ReleasePlan:
        """The same plan with all steps, with no partial traffic, or with no step at all.

        Raises Refusal on an unknown strategy.
        """
        match strategy:
            case "canary":
                return self
            case "blue_green":
                return replace(self, steps=(Step(), Step(mirror=100)))
            case "all_at_once":
                return replace(self, steps=(), bake_seconds=0.0)
        raise Refusal("there is no such strategy", strategy, f"Choose one of: {', '.join(STRATEGIES)}")
