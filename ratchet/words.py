"""The types that cross rooms and processes: ids, digests, figures and paths. No arrays, no models."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeVar

W = TypeVar("W")

Place = tuple[str, int]
"""Address and port of a bento."""
Outcome = Literal["pass", "fail", "inconclusive", "error", "not asked"]


def to_json(word: Any) -> dict[str, Any]:
    """A word as plain JSON data."""
    return asdict(word)


def from_json(kind: type[W], data: Mapping[str, Any] | str) -> W:
    """The word back from its JSON. Raises pydantic.ValidationError on data of another shape."""
    found: W = _adapter(kind).validate_json(data if isinstance(data, str) else json.dumps(data))  # type: ignore[arg-type]
    return found


@functools.cache
def _adapter(kind: type) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


@dataclass(frozen=True)
class Batch:
    """Records that arrived together: accepted + quarantined is what came in."""

    id: str
    recipe: str
    source: str
    accepted: int
    quarantined: int
    new: bool
    """False where this batch had landed before and nothing was added."""


@dataclass(frozen=True)
class Expected:
    """One expectation of a suite on one batch."""

    name: str
    column: str
    passed: bool
    observed: str
    limit: str
    records: tuple[str, ...] = ()


@dataclass(frozen=True)
class SuiteResult:
    batch: str
    passed: bool
    rows: int
    expected: tuple[Expected, ...]
    docs: str
    why: str = ""


@dataclass(frozen=True)
class Snapshot:
    """One version of the table of admitted batches; what a run trains on."""

    recipe: str
    version: int
    fingerprint: str
    records: int
    batches: tuple[str, ...]
    labels: Mapping[str, int]


@dataclass(frozen=True)
class Check:
    name: str
    figure: float | None
    threshold: float | None
    outcome: Outcome
    detail: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Variant:
    """One form of a candidate's export, held against the one in full precision."""

    name: str
    """`fp32`, `fp16` or `int8`."""
    file: str
    """Among the version's artifacts; empty where it could not be made."""
    onnx: str
    """Its SHA-256."""
    megabytes: float
    check: Check
    milliseconds: float | None = None
    """Of one answer alone, warm; None where nobody measured it."""
    where: str = ""
    """The host that measured it, or why none did."""
    packaged: bool = False


@dataclass(frozen=True)
class Candidate:
    """A trained and registered version, not yet judged."""

    recipe: str
    version: str
    model_id: str
    run_id: str
    family: str
    weights: str
    """SHA-256 over named weights and architecture: the model's identity."""
    onnx: str
    """SHA-256 of the exported file, made once and kept."""
    snapshot: Snapshot
    parameters: Mapping[str, float | int | str]
    metrics: Mapping[str, float]
    seconds: float
    commit: str
    lock: str
    history: tuple[Mapping[str, float], ...] = ()
    """One mapping an epoch: loss and metrics, of training and validation."""
    confusion: tuple[tuple[int, ...], ...] = ()
    """Test records of each true class (rows) that were answered as each class (columns)."""
    vocabulary: str = ""
    """SHA-256 of the file of words that a text's features need; empty where there is none."""
    machine: str = ""
    """What it was trained on."""
    variants: tuple[Variant, ...] = ()
    """Decided after training, once; none where that was not done yet."""

    @property
    def packaged(self) -> str:
        """SHA-256 of the form that is judged, packaged and served."""
        return next((v.onnx for v in self.variants if v.packaged), self.onnx)


@dataclass(frozen=True)
class Verdict:
    """The judge's decision with all its evidence. Blessed means that every check passed that was asked."""

    recipe: str
    version: str
    champion: str | None
    blessed: bool
    why: str
    benchmark: str
    checks: tuple[Check, ...]
    reliability: tuple[tuple[float, float, int], ...] = ()
    """(mean confidence, share that was right, records) of equal bins of confidence."""


@dataclass(frozen=True)
class Package:
    """What a release puts into service: one `.bento`, by digest."""

    recipe: str
    version: str
    key: str
    tag: str
    digest: str
    artifact: str
    """Where a host gets it from: the path below MLflow's artifact proxy."""
    memory_mb: int = 0
    """What one process of it is reckoned to take, on a GPU or on a host without."""

    @property
    def arm(self) -> str:
        """The name of what serves it: version and package key, as in the tag."""
        return self.tag.split(":")[1]


def version_of(arm: str) -> str:
    """The version in an arm's name."""
    return arm.removeprefix("v").partition("-")[0]


@dataclass(frozen=True)
class Served:
    """What a host found out when it put a package into service."""

    package: Package
    host: str
    address: str
    port: int
    device: str
    golden: int
    """Golden inputs answered as expected, over HTTP."""
    p50_ms: float
    p99_ms: float
    seconds: float


@dataclass(frozen=True)
class Arm:
    """A bento process on a host, as it is now."""

    recipe: str
    arm: str
    host: str
    address: str
    port: int
    state: str
    """`running`, `starting`, `stopped`, `failed`, or `orphan`: alive, but nobody supervises it."""
    ready: bool
    since: float = 0.0
    """When its youngest process began."""
    proven: bool = False
    """Whether it answered its golden set here."""
    fault: str = ""
    """Why it cannot be started, or did not answer its golden set."""
    pids: tuple[int, ...] = ()
    gpu: str = ""
    """The one that this process has, where it has one."""
    workers: int = 0
    """Processes that its master began, and that live."""

    @property
    def place(self) -> Place:
        return (self.address, self.port)


@dataclass(frozen=True)
class Split:
    """Percent of a recipe's traffic by arm, adding up to 100 or nothing; and percent mirrored to `mirror`.

    Where an arm does not answer, another that has a weight is asked, or `spare`.
    """

    weights: Mapping[str, int] = field(default_factory=dict)
    mirror: str = ""
    percent: int = 0
    spare: str = ""


@dataclass(frozen=True)
class Drift:
    """How far a column of newer batches is from that of older ones: the population stability index."""

    column: str
    index: float


@dataclass(frozen=True)
class Lineage:
    """What the dossier is rendered from, up to the verdict."""

    candidate: Candidate
    verdict: Verdict
    suites: tuple[SuiteResult, ...] = field(default=())
    drift: tuple[Drift, ...] = ()
    """Of the batches that the champion was not trained on, against those that it was."""
    twins: tuple[Candidate, ...] = ()
    """Others of the same data and parameters, which began from other weights."""
    whole: str = ""
    """Where MLflow shows the version with all its artifacts."""
