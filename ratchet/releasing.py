"""How a release goes, and what counts as worse, as a recipe says it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ratchet.errors import Refusal


@dataclass(frozen=True)
class Bound:
    """How much worse than the champion's a rate may be.

    Shown to be worse by more than `tolerance` it fails; shown to be worse by no more than `margin` it passes.
    """

    tolerance: float
    margin: float


@dataclass(frozen=True)
class Step:
    """One step of a release: percent of the traffic, and percent mirrored with the answers thrown away."""

    weight: int = 0
    mirror: int = 0


STRATEGIES = ("canary", "blue_green", "all_at_once")


@dataclass(frozen=True)
class Releasing:
    """How a release goes, and what counts as worse. `false_alarm` is the chance that a good one is ever stopped."""

    steps: tuple[Step, ...] = (Step(), Step(mirror=20), Step(5), Step(25), Step(50))
    """One that is empty compares the arms on requests of Ratchet's own, with no traffic on the new one."""
    step_seconds: float = 900.0
    """What a step may take to gather the evidence that it needs."""
    bake_seconds: float = 1800.0
    """How long the old champion stays warm after the last step, and the checks go on."""
    bake_mirror: int = 10
    """Percent of the traffic mirrored to the old champion meanwhile, to compare with."""
    max_surge: int = 2
    """Hosts that are warmed side by side."""
    false_alarm: float = 0.01
    failed: Bound = Bound(0.0, 0.01)
    refused: Bound = Bound(0.02, 0.10)
    """Of requests answered as the caller's fault (4xx)."""
    slow_half: Bound = Bound(0.15, 0.30)
    """Of answers slower than the champion's own median."""
    slow_most: Bound = Bound(0.02, 0.05)
    """Of answers slower than the champion's own 99th percentile."""
    disagreed: Bound = Bound(0.15, 0.15)
    """Of inputs that the champion answers otherwise: a rate of its own, not a difference."""
    wrong: Bound = Bound(0.0, 0.05)
    sick: float = 0.2
    """Share of failed requests from which an arm is sick whatever the other does."""

    def by(self, strategy: str) -> Releasing:
        """The same by a named strategy: all steps, no share of the traffic before all of it, or no step at all.

        Raises Refusal on another.
        """
        match strategy:
            case "canary":
                return self
            case "blue_green":
                return replace(self, steps=(Step(), Step(mirror=100)))
            case "all_at_once":
                return replace(self, steps=(), bake_seconds=0.0)
        raise Refusal("there is no such strategy", strategy, f"Known are: {', '.join(STRATEGIES)}")
