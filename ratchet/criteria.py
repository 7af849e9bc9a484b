"""What a recipe asks of an evaluation."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ratchet.bounds import NotNegative, Positive, Share


@dataclass(frozen=True)
class Criteria:
    """Thresholds on the benchmark, and the margin within which a candidate counts as no worse than the champion.

    A criterion that is None or empty is skipped, and the report lists it as skipped.
    """

    accuracy: Share = 0.88
    worst_class: Share = 0.5
    margin: Share = 0.01
    slices: tuple[str, ...] = ()
    """Slices that are compared one by one: `class`, and thirds by `brightness` (images) or `length` (texts)."""
    slice_margin: Share = 0.1
    calibration: Share | None = None
    """Maximum expected calibration error."""
    invariance: Mapping[str, Share] = field(default_factory=dict)
    """Perturbations, and the minimum share of predictions that must not change."""
    robustness: Mapping[str, Share] = field(default_factory=dict)
    """Perturbations, and the maximum loss of accuracy."""
    directional: Mapping[str, str] = field(default_factory=dict)
    """Words that are added to a text, and the class whose probability they must not lower."""
    examples: Mapping[str, str] = field(default_factory=dict)
    """Texts, and the class that must be predicted for each."""
    membership: Share | None = None
    """Maximum advantage of a membership inference attack."""
    fairness: Mapping[str, Share] = field(default_factory=dict)
    """Classes, and the maximum difference in recall between groups of people."""
    near_duplicates: Share | None = None
    """Maximum share of the benchmark that nearly duplicates a training record."""
    label_errors: Share | None = None
    """Maximum share of the benchmark whose label the model contradicts with confidence."""
    latency_ms: Positive | None = None
    """Maximum median latency of one prediction on one core."""
    size_mb: Positive | None = None
    """Maximum size of the model's files."""


@dataclass(frozen=True)
class ForecastCriteria:
    """A maximum mean squared error, and the margin within which a forecast counts as no worse than the champion's.

    A forecast must also beat the seasonal-naive baseline, and be no worse than the linear one by more than `linear`.
    """

    squared_error: NotNegative
    margin: NotNegative = 0.05
    """Share of the champion's error."""
    linear: NotNegative = 0.0
    """Share of the linear baseline's error by which a forecast may be worse; 0 means that it must be better."""
    slices: tuple[str, ...] = ()
    """Slices that are compared one by one: thirds by the `level` of a window."""
    slice_margin: NotNegative = 0.2
    """Share of the champion's error on that slice."""
    directional: Share | None = None
    """Minimum share of forecasts that rise if the whole window is raised."""
    latency_ms: Positive | None = None
    size_mb: Positive | None = None
