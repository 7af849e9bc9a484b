"""The type of a recipe: all that the loop must know of one model."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ratchet import answers
from ratchet.contract import Contract
from ratchet.errors import Refusal
from ratchet.settings import settings


@dataclass(frozen=True)
class Feed:
    """Records `start`..`stop` of the recipe's own data set: of a pair of files, or of one that holds labels, too."""

    inputs: str
    labels: str = ""
    start: int = 0
    stop: int | None = None
    every: int = 0
    """Of these, each n-th alone where n is positive; all but those where it is negative."""


@dataclass(frozen=True)
class DataSet:
    """Files, or folders, with pinned SHA-256 of their uncompressed bytes, and where they may be found.

    Looked for in the folder that `RATCHET_<SETTING>` names, then `folders`, then downloaded from `url`.
    `setting` ends in `_dir`: settings of that name reach the workers.
    """

    setting: str
    folders: tuple[str, ...]
    url: str
    files: Mapping[str, str]
    debian: str = ""
    """A Debian package that puts the files into one of `folders`."""
    prepare: Callable[[Path], Iterable[Mapping[str, Any]]] | None = None
    """Makes records of a file that is in no format of ours: the columns of a Parquet file, in the order of `Feed`."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9_]+_dir", self.setting):
            raise ValueError(f"the setting {self.setting!r} does not end in _dir")

    @property
    def variable(self) -> str:
        return f"RATCHET_{self.setting.upper()}"


@dataclass(frozen=True)
class Suite:
    """What a batch must be to be admitted."""

    min_rows: int = 100
    min_class_share: float = 0.02
    """Of the batch, for every class."""
    max_duplicates: float = 0.01
    """Share of records whose input stands in the batch, or in an admitted one, already."""
    max_age_days: float = 365.0
    max_gaps: float = 0.01
    """Of a series: share of values that do not follow one step after the value before."""


FAMILIES = ("cnn", "rnn", "transformer")


def families(kind: str) -> tuple[str, ...]:
    """Those that take this kind of input."""
    return FAMILIES if kind == "image" else FAMILIES[1:]


@dataclass(frozen=True)
class Training:
    family: str = "cnn"
    parameters: Mapping[str, int | float] = field(default_factory=dict)
    epochs: int = 5
    batch_size: int = 32
    learning_rate: float = 0.001
    seed: int = 20240229
    start: str = ""
    """SHA-256 of the weights of a version that it goes on from; empty where it starts cold."""


@dataclass(frozen=True)
class Between:
    """Numbers from low to high, whole ones where both are; `log` where their scale is to be searched."""

    low: float
    high: float
    log: bool = False


SLICES: Mapping[str, tuple[str, ...]] = {"image": ("class", "brightness"), "text": ("class", "length")}
CHANGES: Mapping[str, tuple[str, ...]] = {"image": ("shift", "noise", "darker", "blurred"),
                                         "text": ("case", "spaces", "typo", "typos", "shortened")}  # fmt: skip
"""What the judge can compare one by one, and what an answer can be asked to stay under, by the kind of input."""


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
    follows: float | None = None
    """Least share of forecasts that lie higher where the whole window does."""
    milliseconds: float | None = None
    megabytes: float | None = None


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


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One model. `version` is part of every stage's key: raise it when the meaning changes.

    `network`, where given, is a function of the shape of one input as the network takes it and the width
    of an answer that imports keras inside and returns an uncompiled model; it replaces the family.
    """

    name: str
    version: int
    purpose: str
    contract: Contract
    classes: tuple[str, ...] = ()
    """Empty where the answer is a forecast."""
    data: DataSet
    batches: tuple[Feed, ...]
    """The recipe's own batches, in order: the first is what the first run trains on."""
    benchmark: Feed
    """Never trained on; one of its records that arrives in a batch goes to quarantine."""
    suite: Suite = Suite()
    training: Training = Training()
    judging: Judging | ForecastJudging = Judging()
    releasing: Releasing = Releasing()
    record_inputs: bool = False
    """Whether a bento may remember raw inputs for a while, to replay them to a challenger."""
    show_inputs: bool = False
    """Whether raw inputs may stand in artifacts, the golden set among them; where not, made ones do."""
    memory_mb: int = 1024
    """What one process of its service may take: of a GPU where it runs on one, else of the host."""
    network: Callable[[tuple[int, ...], int], Any] | None = None
    space: Mapping[str, Between | tuple[int | float, ...]] = field(default_factory=dict)
    """What a search may try, by the names of `Training` or of its family's parameters: a range, or some values."""

    def __post_init__(self) -> None:
        kind, judging = self.contract.kind, self.judging
        if (kind == "series") == bool(self.classes) or (kind == "series") != isinstance(judging, ForecastJudging):
            raise ValueError("a series has no classes and a ForecastJudging; others have classes and a Judging")
        if isinstance(judging, Judging):
            for name in judging.slices:
                if name not in SLICES[kind]:
                    raise ValueError(f"{kind} has no slice {name!r}; it has {', '.join(SLICES[kind])}")
            for name in (*judging.stays, *judging.drifts):
                if name not in CHANGES[kind]:
                    raise ValueError(f"{kind} has no change {name!r}; it has {', '.join(CHANGES[kind])}")
            if (judging.examples or judging.raises) and kind != "text":
                raise ValueError("only texts have examples, or words that are added")
            for name in (*judging.examples.values(), *judging.raises.values(), *judging.fairness):
                if name not in self.classes:
                    raise ValueError(f"there is no class {name!r}; there are {', '.join(self.classes)}")

    @property
    def answers(self) -> answers.Answers:
        return answers.of(self.contract.to_json(), self.classes)


def names() -> list[str]:
    """Every recipe found, without importing any. Raises Refusal when a folder of theirs is missing."""
    files = (f for folder in _folders() for f in sorted(folder.glob("*.py")))
    return sorted({f.stem.replace("_", "-") for f in files if not f.stem.startswith("_")})


def _folders() -> tuple[Path, ...]:
    for folder in settings().recipe_folders:
        if not folder.is_dir():
            raise Refusal("there is no such folder", folder, "Mend RATCHET_RECIPES")
    return settings().recipe_folders


def source(name: str) -> Path:
    """The file of a recipe. Raises Refusal when there is none."""
    stem = name.replace("-", "_")
    if re.fullmatch(r"[a-z][a-z0-9-]*", name):
        for folder in _folders():
            if (folder / f"{stem}.py").is_file():
                return folder / f"{stem}.py"
    raise Refusal("there is no such recipe", name, f"Known are: {', '.join(names()) or 'none'}")


def load(name: str) -> Recipe:
    """The recipe `name`; only its file is imported. Raises Refusal when it is missing or holds none."""
    path = source(name)
    spec = importlib.util.spec_from_file_location(f"recipes.{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise Refusal(f"the recipe cannot be read ({error})", path, "Mend the file") from error
    recipe = getattr(module, "recipe", None)
    if not isinstance(recipe, Recipe) or recipe.name != name:
        raise Refusal(f"the file holds no `recipe = Recipe(name={name!r}, ...)`", path, "Mend the file")
    return recipe
