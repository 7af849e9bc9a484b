"""The data of the release machine: events, the state that they leave, and the actions that then hold."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ratchet.recipe import ReleasePlan, Step
from ratchet.types import Check, Endpoint, HostPort, Package, Split

Phase = Literal["idle", "warming", "trial", "shifting", "baking", "halted"]
Kind = Literal["release", "rollback"]
Order = Literal["pause", "resume", "promote", "freeze", "thaw"]
Aliases = tuple[str | None, str | None, str | None]
"""The versions of `@champion`, `@challenger` and `@previous`."""


@dataclass(frozen=True)
class Requested:
    """Somebody wants `package` to become champion on `hosts`, the living ones, by this plan."""

    package: Package
    kind: Kind
    why: str
    by_hand: bool
    hosts: tuple[str, ...]
    plan: ReleasePlan
    warm_seconds: float
    shift_seconds: float
    at: float = 0.0


@dataclass(frozen=True)
class Healthy:
    """Every host that should serve the challenger does, and it answered its golden set there."""

    attempt: int
    hosts: Mapping[str, float]
    """When its process started on each host."""
    at: float = 0.0


@dataclass(frozen=True)
class Passed:
    """The evidence of one step is sufficient."""

    attempt: int
    step: int
    checks: tuple[Check, ...]
    at: float = 0.0


@dataclass(frozen=True)
class Failed:
    """The version on trial, or baking, must not continue."""

    attempt: int
    why: str
    checks: tuple[Check, ...] = ()
    at: float = 0.0
    withdrawn: bool = False
    """Whoever asked for the release no longer wants it. It says nothing of the version, and not of a champion."""


@dataclass(frozen=True)
class Halted:
    """Both revisions are unhealthy; `revision` is the better one and keeps the traffic. A person must decide."""

    attempt: int
    revision: str
    why: str
    checks: tuple[Check, ...] = ()
    at: float = 0.0


@dataclass(frozen=True)
class Promoted:
    """The gateway sends all traffic to the version: the moment at which a release has happened."""

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
    """The gateway no longer knows the revision, and no request of it is in flight."""

    revision: str
    at: float = 0.0


@dataclass(frozen=True)
class Synced:
    """MLflow has the first `outcomes` outcomes, and the aliases as far as they are ours to write."""

    aliases: Aliases
    outcomes: int
    at: float = 0.0
    in_mlflow: Aliases | None = None
    """What MLflow has, if that differs: an alias that a person moved, or whose version they deleted, is not written."""


@dataclass(frozen=True)
class Routed:
    """The gateway has this split in force."""

    split: Split
    at: float = 0.0


@dataclass(frozen=True)
class Steered:
    """A person's order: `pause`, `resume`, `promote` now, `freeze` or `thaw`."""

    order: Order
    why: str
    at: float = 0.0


Event = Requested | Healthy | Passed | Failed | Halted | Promoted | Baked | Drained | Synced | Routed | Steered


@dataclass(frozen=True)
class Outcome:
    """What became of a version, until it is written to MLflow."""

    version: str
    outcome: Literal["promoted", "failed", "rolled back"]
    why: str


@dataclass(frozen=True)
class State:
    phase: Phase = "idle"
    kind: Kind = "release"
    by_hand: bool = False
    attempt: int = 0
    """The number of releases and rollbacks so far; an event of an earlier one changes nothing."""
    champion: Package | None = None
    challenger: Package | None = None
    warm: Package | None = None
    """The old champion while the new one bakes."""
    draining: tuple[Package, ...] = ()
    plan: ReleasePlan = field(default_factory=ReleasePlan)
    hosts: tuple[str, ...] = ()
    """The hosts that the challenger should be warmed on."""
    step: int = 0
    deadline: float = 0.0
    shift_seconds: float = 0.0
    paused: bool = False
    frozen: str = ""
    """Why no release may start; empty if one may."""
    keep: str = ""
    """Halted: the revision that has the traffic."""
    started: Mapping[str, float] = field(default_factory=dict)
    """When the challenger's process started on each host where it was shown healthy."""
    former: tuple[Package, ...] = ()
    """Every champion before this one, oldest first."""
    rolled_back: frozenset[str] = frozenset()
    """Revisions that were rolled back."""
    why: str = ""
    outcomes: tuple[Outcome, ...] = ()
    aliases: Aliases = (None, None, None)
    """The aliases that MLflow accepted last."""
    routed: Split = field(default_factory=Split)
    """What the gateway had in force last. It decides nothing: every tick asks the gateway itself."""

    @property
    def trial(self) -> Step:
        return self.plan.steps[self.step]


@dataclass(frozen=True)
class Serve:
    """Every host should run the package."""

    package: Package


@dataclass(frozen=True)
class Keep:
    """Hosts may still run the package, which finishes its requests."""

    package: Package


@dataclass(frozen=True)
class Route:
    """The gateway should split the traffic in this way."""

    split: Split


@dataclass(frozen=True)
class Sync:
    """MLflow should have these aliases and outcomes."""

    aliases: Aliases
    outcomes: tuple[Outcome, ...]


Action = Serve | Keep | Route | Sync


@dataclass(frozen=True)
class Fleet:
    """One recipe's part of the fleet, as hosts and gateway report it."""

    endpoints: tuple[Endpoint, ...] = ()
    """Those of living hosts."""
    hosts: frozenset[str] = frozenset()
    """Living hosts: those that reported lately."""
    current: frozenset[str] = frozenset()
    """Living hosts that knew of the present attempt when they reported."""
    alive: bool = True
    """Whether the gateway answers."""
    split: Split = field(default_factory=Split)
    """What the gateway has in force."""
    addresses: Mapping[str, tuple[HostPort, ...]] = field(default_factory=dict)
    """The addresses of each revision that were declared to the gateway."""
    healthy: Mapping[str, frozenset[HostPort]] = field(default_factory=dict)
    """The addresses of each revision that pass the gateway's health checks."""
    active: Mapping[str, int] = field(default_factory=dict)
    """Requests in flight by revision."""
    fallback_seconds: float = 0.0
    """Time of this attempt in which the other revision answered requests for the version on trial, or baking."""
