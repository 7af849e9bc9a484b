"""The words of the release machine: what happened, what state that leaves, what should then be so. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ratchet.recipe import Releasing, Step
from ratchet.words import Arm, Check, Package, Place, Split

Phase = Literal["idle", "warming", "trial", "turning", "baking", "halted"]
Kind = Literal["release", "rollback"]
Order = Literal["pause", "resume", "promote", "freeze", "thaw"]


@dataclass(frozen=True)
class Requested:
    """Somebody wants `package` to be champion on `hosts`, those that were heard of, by this plan."""

    package: Package
    kind: Kind
    why: str
    by_hand: bool
    hosts: tuple[str, ...]
    plan: Releasing
    warm_seconds: float
    turn_seconds: float
    at: float = 0.0


@dataclass(frozen=True)
class Healthy:
    """Every host that is to serve the challenger does, and it answered its golden set there."""

    attempt: int
    hosts: Mapping[str, float]
    """When its process began on each."""
    at: float = 0.0


@dataclass(frozen=True)
class Passed:
    """The evidence of one step suffices."""

    attempt: int
    step: int
    checks: tuple[Check, ...]
    at: float = 0.0


@dataclass(frozen=True)
class Failed:
    """The version on trial, or baking, must not go on."""

    attempt: int
    why: str
    checks: tuple[Check, ...] = ()
    at: float = 0.0


@dataclass(frozen=True)
class Halted:
    """Both arms are sick; `arm` is the better one and keeps the traffic. A person is needed."""

    attempt: int
    arm: str
    why: str
    checks: tuple[Check, ...] = ()
    at: float = 0.0


@dataclass(frozen=True)
class Promoted:
    """The gateway sends all traffic to the version: the moment a release has happened."""

    attempt: int
    version: str
    at: float = 0.0


@dataclass(frozen=True)
class Baked:
    """The bake time is over; the old champion need not stay warm."""

    attempt: int
    checks: tuple[Check, ...] = ()
    at: float = 0.0


@dataclass(frozen=True)
class Drained:
    """The gateway no longer knows the arm, and it has no request under way."""

    arm: str
    at: float = 0.0


@dataclass(frozen=True)
class Recorded:
    """MLflow took the aliases and the outcomes."""

    champion: str | None
    previous: str | None
    outcomes: int
    at: float = 0.0


@dataclass(frozen=True)
class Steered:
    """A hand on the wheel: `pause`, `resume`, `promote` at once, `freeze` or `thaw`."""

    order: Order
    why: str
    at: float = 0.0


Event = Requested | Healthy | Passed | Failed | Halted | Promoted | Baked | Drained | Recorded | Steered


@dataclass(frozen=True)
class Outcome:
    """What became of a version, still to be written to MLflow."""

    version: str
    outcome: str
    why: str


@dataclass(frozen=True)
class State:
    phase: Phase = "idle"
    kind: Kind = "release"
    by_hand: bool = False
    attempt: int = 0
    """How many releases and rollbacks began; an event of an earlier one changes nothing."""
    champion: Package | None = None
    challenger: Package | None = None
    warm: Package | None = None
    """The old champion while the new one bakes."""
    draining: tuple[Package, ...] = ()
    plan: Releasing = field(default_factory=Releasing)
    hosts: tuple[str, ...] = ()
    """Those that the challenger was to be warmed on."""
    step: int = 0
    deadline: float = 0.0
    turn_seconds: float = 0.0
    paused: bool = False
    frozen: str = ""
    """Why no release may begin, or nothing."""
    keep: str = ""
    """Halted: the arm that has the traffic."""
    began: Mapping[str, float] = field(default_factory=dict)
    """When the challenger's process began on each host where it was shown healthy."""
    former: tuple[Package, ...] = ()
    """Every champion before this one, oldest first."""
    rolled_back: frozenset[str] = frozenset()
    """Arms that were rolled back from."""
    why: str = ""
    outcomes: tuple[Outcome, ...] = ()
    aliases: tuple[str | None, str | None] = (None, None)
    """Champion and previous as MLflow last took them."""

    @property
    def trial(self) -> Step:
        return self.plan.steps[self.step]


@dataclass(frozen=True)
class Serve:
    """Every host should run the package."""

    package: Package


@dataclass(frozen=True)
class Keep:
    """Hosts may run the package: a flow is placing it, or it finishes what it has."""

    package: Package


@dataclass(frozen=True)
class Route:
    """The gateway should split the traffic so."""

    split: Split


@dataclass(frozen=True)
class Record:
    """MLflow should say so."""

    champion: str | None
    previous: str | None
    outcomes: tuple[Outcome, ...]


Action = Serve | Keep | Route | Record


@dataclass(frozen=True)
class Fleet:
    """One recipe's part of the fleet, as hosts and gateway tell it."""

    arms: tuple[Arm, ...] = ()
    """Those of living hosts."""
    hosts: frozenset[str] = frozenset()
    """Those heard of lately."""
    current: frozenset[str] = frozenset()
    """Those of them that knew of the present attempt when they told."""
    alive: bool = True
    """Whether the gateway answers."""
    split: Split = field(default_factory=Split)
    """What the gateway has in force."""
    places: Mapping[str, tuple[Place, ...]] = field(default_factory=dict)
    """Arm to endpoints, as declared to the gateway."""
    healthy: Mapping[str, frozenset[Place]] = field(default_factory=dict)
    """Arm to endpoints that pass the gateway's health checks."""
    active: Mapping[str, int] = field(default_factory=dict)
    """Arm to requests under way."""
    away: float = 0.0
    """Seconds of this attempt in which callers' requests for the version on trial, or baking, went to the other arm."""
