"""What the judge asks of a candidate, as a recipe says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

SLICES: Mapping[str, tuple[str, ...]] = {
    "image": ("class", "brightness"),
    "text": ("class", "length"),
    "series": ("level",),
}
CHANGES: Mapping[str, tuple[str, ...]] = {"image": ("shift", "noise", "darker", "blurred"),
                                         "text": ("case", "spaces", "typo", "typos", "shortened")}  # fmt: skip
"""What the judge can compare one by one, and what an answer can be asked to stay under, by the kind of input."""
_SHARES = ("accuracy", "worst_class", "margin", "slice_margin", "calibration", "membership", "near_duplicates",
           "disputed")  # fmt: skip


@dataclass(frozen=True)
class Judging:
    """Floors on the benchmark, how much worse than the champion still counts as no worse, and what else is asked.

    What is None or empty is not asked, and the verdict says so.
    """

    accuracy: float = 0.88
    worst_class: float = 0.5
    margin: float = 0.01
    slices: tuple[str, ...] = ()
    """Parts that are compared one by one: `class`; thirds by `brightness` (images) or `length` (texts)."""
    slice_margin: float = 0.1
    calibration: float | None = None
    """The largest expected calibration error."""
    stays: Mapping[str, float] = field(default_factory=dict)
    """Least share of answers that stay under a change of `CHANGES`."""
    drifts: Mapping[str, float] = field(default_factory=dict)
    """The most that accuracy may lose under a change of `CHANGES`, since such data may come."""
    raises: Mapping[str, str] = field(default_factory=dict)
    """Words, and the class that they must not speak against where they are added to a text."""
    examples: Mapping[str, str] = field(default_factory=dict)
    """Texts, and the class that each must be answered with."""
    membership: float | None = None
    """The largest advantage of one who guesses from an answer whether a record was trained on."""
    fairness: Mapping[str, float] = field(default_factory=dict)
    """The largest gap between groups of people, by class: in how many of its records are recognised."""
    near_duplicates: float | None = None
    """The largest share of the benchmark that is nearly the same as something trained on."""
    disputed: float | None = None
    """The largest share of the benchmark whose label the model denies with confidence."""
    milliseconds: float | None = None
    """Of one answer on one core, the median."""
    megabytes: float | None = None
    """Of the model's files."""

    def __post_init__(self) -> None:
        for name in _SHARES:
            if not 0 <= (getattr(self, name) or 0) <= 1:
                raise ValueError(f"{name} is a share, from 0 to 1, not {getattr(self, name)!r}")


@dataclass(frozen=True)
class ForecastJudging:
    """Of forecasts: a ceiling on the mean squared error, and how much worse than the champion still counts as no worse.

    Besides, one must beat the seasonal-naive and the linear baseline.
    """

    squared_error: float
    margin: float = 0.05
    """Share of the champion's own error."""
    linear: float = 0.0
    """The same of the linear baseline's; with 0 it must be beaten."""
    slices: tuple[str, ...] = ()
    """Parts that are compared one by one: thirds by the `level` of a window."""
    slice_margin: float = 0.2
    """Share of the champion's own error on that part."""
    follows: float | None = None
    """Least share of forecasts that lie higher where the whole window does."""
    milliseconds: float | None = None
    megabytes: float | None = None
