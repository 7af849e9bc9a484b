"""The types that cross rooms and processes: ids, digests, figures and paths. No arrays, no models."""

import functools
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeVar

T = TypeVar("T")

HostPort = tuple[str, int]
"""The address and the port that a bento listens on."""
Bins = tuple[tuple[float, float, int], ...]
"""(mean confidence, accuracy, number of records) of bins of equal width of confidence."""
Outcome = Literal["passed", "failed", "inconclusive", "error", "skipped"]
Role = Literal["check", "metric", "slice", "cost"]


def to_json(value: Any) -> dict[str, Any]:
    """A dataclass as plain JSON data."""
    return asdict(value)


def from_json(type_: type[T], data: Mapping[str, Any] | str) -> T:
    """The dataclass back from its JSON. Raises pydantic.ValidationError when the data has another shape."""
    text = data if isinstance(data, str) else json.dumps(data)
    value: T = _adapter(type_).validate_json(text)  # type: ignore[arg-type]
    return value


@functools.cache
def _adapter(type_: type) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(type_)


@dataclass(frozen=True)
class Batch:
    """Records that arrived together; accepted + quarantined is the number that came in."""

    id: str
    recipe: str
    source: str
    accepted: int
    quarantined: int
    new: bool
    """False if this batch had landed before and nothing was added."""
    notes: Mapping[str, int] = field(default_factory=dict)
    """What the contract took away from records, and from how many."""
    facts: tuple[str, ...] = ()
    """How the source was read."""
    reasons: Mapping[str, int] = field(default_factory=dict)
    """The commonest reasons of quarantine, and how many records each has."""

    @property
    def remarks(self) -> tuple[str, ...]:
        """How it was read, what was taken away from records, and why others are in quarantine, in sentences."""
        taken = (f"of {count} records: {note}" for note, count in self.notes.items())
        refused = (f"{count} in quarantine: {reason}" for reason, count in self.reasons.items())
        return (*self.facts, *taken, *refused)


@dataclass(frozen=True)
class ExpectationResult:
    """The result of one expectation on one batch."""

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
    expectations: tuple[ExpectationResult, ...]
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
    """One check of an evaluation or of a release, with its value, threshold and 95 % interval."""

    name: str
    value: float | None
    threshold: float | None
    outcome: Outcome
    detail: str
    low: float | None = None
    high: float | None = None
    role: Role = "check"
    """`metric` is the recipe's headline metric, `slice` a part of the benchmark, `cost` a measured latency or size."""


@dataclass(frozen=True)
class Variant:
    """The same weights in another form, compared with the one in full precision."""

    name: str
    """`fp32`, `fp16` or `int8`."""
    file: str
    """Its name among the version's artifacts; empty if it could not be made."""
    onnx: str
    """SHA-256 of the file."""
    size_mb: float
    check: Check
    latency_ms: float | None = None
    """Median latency of one warm prediction; None if it was not measured."""
    measured_on: str = ""
    """The host that measured it, or why none did."""
    packaged: bool = False


@dataclass(frozen=True)
class Candidate:
    """A trained and registered version, not yet evaluated."""

    recipe: str
    version: str
    model_id: str
    run_id: str
    experiment: str
    """The id of its MLflow experiment, which is part of the path of every artifact."""
    family: str
    weights: str
    """SHA-256 over named weights and architecture: the model's identity."""
    onnx: str
    """SHA-256 of the exported file, which is made once and kept."""
    snapshot: Snapshot
    parameters: Mapping[str, float | int | str]
    metrics: Mapping[str, float]
    seconds: float
    commit: str
    lock: str
    history: tuple[Mapping[str, float], ...] = ()
    """One mapping per epoch: loss and metrics on the training and validation sides."""
    confusion: tuple[tuple[int, ...], ...] = ()
    """Number of test records by true class (rows) and predicted class (columns)."""
    vocabulary: str = ""
    """SHA-256 of the vocabulary file of a text model; empty for other kinds."""
    machine: str = ""
    """The machine that trained it."""
    variants: tuple[Variant, ...] = ()
    """Empty until the variants have been compared."""

    @property
    def packaged(self) -> str:
        """SHA-256 of the variant that is evaluated, packaged and served."""
        return next((v.onnx for v in self.variants if v.packaged), self.onnx)


@dataclass(frozen=True)
class EvaluationReport:
    """The result of an evaluation with all its checks. A version is blessed if every check passed or was skipped."""

    recipe: str
    version: str
    champion: str | None
    blessed: bool
    why: str
    benchmark: str
    checks: tuple[Check, ...]
    reliability: Bins = ()

    @property
    def metric(self) -> float | None:
        """The recipe's headline metric on the benchmark."""
        return next((check.value for check in self.checks if check.role == "metric"), None)


@dataclass(frozen=True)
class Package:
    """What a release puts into service: one `.bento`, identified by its digest."""

    recipe: str
    version: str
    key: str
    tag: str
    digest: str
    artifact: str
    """The path below MLflow's artifact proxy that a host fetches it from."""
    memory_mb: int = 0
    """Memory reserved for one process: on a GPU, or on a host without one."""

    @property
    def revision(self) -> str:
        """The name of the version in this package, as in the tag: `v7-3f2a9c81d0b4`."""
        return self.tag.split(":")[1]


def version_of(revision: str) -> str:
    """The version in the name of a revision."""
    return revision.removeprefix("v").partition("-")[0]


@dataclass(frozen=True)
class Endpoint:
    """One bento process of a revision on a host, as it is now."""

    recipe: str
    revision: str
    host: str
    address: str
    port: int
    state: str
    """`running`, `starting`, `stopped`, `failed`, or `orphan`: alive, but not supervised."""
    ready: bool
    since: float = 0.0
    """When its youngest process started, in seconds since 1970."""
    verified: bool = False
    """Whether it answered its golden set here."""
    fault: str = ""
    """Why it cannot be started, or which golden answer was wrong."""
    pids: tuple[int, ...] = ()
    gpu: str = ""
    """The one GPU that this process uses, if it uses one."""
    workers: int = 0
    """Number of living worker processes of its master."""
    golden: int = 0
    """Number of golden inputs that it answered as expected."""
    p50_ms: float = 0.0
    """Median latency of those requests over HTTP."""

    @property
    def host_port(self) -> HostPort:
        return (self.address, self.port)


@dataclass(frozen=True)
class Split:
    """Percent of a recipe's traffic per revision, adding up to 100 or to nothing, and the percent that is mirrored.

    If a revision does not answer, another one that has a weight gets the request, or else `fallback`.
    """

    weights: Mapping[str, int] = field(default_factory=dict)
    mirror: str = ""
    mirror_percent: int = 0
    fallback: str = ""

    def __str__(self) -> str:
        shares = ", ".join(f"{revision} {weight} %" for revision, weight in self.weights.items()) or "no traffic"
        return shares + (f", {self.mirror_percent} % mirrored to {self.mirror}" if self.mirror else "")


@dataclass(frozen=True)
class Drift:
    """How far a column of newer batches is from that of older ones."""

    column: str
    index: float
    """The population stability index, less what chance adds to it."""
    p_value: float | None = None
    """How probable such a change is by chance, corrected for the number of columns; None if there are too few records.

    In a card of 0.1.0 it is missing.
    """
    drifted: bool = False


@dataclass(frozen=True)
class Promise:
    """What the benchmark promises of a version: the mean loss of an answer, and that of answers of like certainty.

    Losses are shares of `scale`, at most 1.
    """

    loss: float
    deviation: float
    """The standard deviation of the loss of one record."""
    records: int
    scale: float
    """The loss that counts as 1; a larger one counts as much."""
    centres: tuple[float, ...]
    """The mean certainty in each bin of records of like certainty, rising."""
    losses: tuple[float, ...]
    """The mean loss in each bin."""
    counts: tuple[int, ...]
    """The records in each bin."""
    certainties: tuple[float, ...]
    """Quantiles of the certainty, evenly spaced."""
    predicted: Mapping[str, int]
    """Records by the class that is predicted; empty for another task."""


Tier = Literal["measured", "estimated", "changed"]
Effect = Literal["harmful", "benign", "unknown"]


@dataclass(frozen=True)
class Finding:
    """What is noticed about what serves, in one of three tiers."""

    tier: Tier
    what: str
    """In a sentence, for people."""
    effect: Effect
    since: float
    """Seconds since 1970: when it began, as far as is known."""
    sure: str
    """How sure it is, in words with a figure."""
    subject: str = ""
    """The column that changed; empty for the loss."""
    fault: bool = False
    """Whether the source of the inputs is probably broken, which a person must look at and no training cures."""


@dataclass(frozen=True)
class Level:
    """A mean loss over some predictions, as a share of the promise's scale, with its interval of 95 %."""

    loss: float
    low: float
    high: float
    records: int


@dataclass(frozen=True)
class Watched:
    """The state of a revision that serves."""

    recipe: str
    revision: str
    promised: float
    limit: float
    """The loss from which on the revision is harmed."""
    answered: int
    """Predictions of callers in the log."""
    measured: Level | None
    """None without labels."""
    estimated: Level | None
    """None if there are too few predictions, or labels have shown that the estimate is wrong."""
    findings: tuple[Finding, ...]
    remarks: tuple[str, ...] = ()

    @property
    def harmed(self) -> bool:
        return any(finding.effect == "harmful" for finding in self.findings)


@dataclass(frozen=True)
class CardSources:
    """What a model card is rendered from, up to the evaluation."""

    candidate: Candidate
    report: EvaluationReport
    suites: tuple[SuiteResult, ...] = ()
    drift: tuple[Drift, ...] = ()
    """Of the batches that the champion was not trained on, compared with those that it was trained on."""
    siblings: tuple[Candidate, ...] = ()
    """Candidates with the same data and parameters that started from other weights."""
    mlflow_url: str = ""
    """Where MLflow's UI shows the version with all its artifacts."""
    prefect_url: str = ""
    """Where Prefect's UI shows the run that evaluated it."""
    cost: str = ""
    """What its release costs at most, in a sentence; empty where nobody is served yet."""
    what_if: str = ""
    """The command that plays what was served with other settings; empty where no inputs are kept."""
