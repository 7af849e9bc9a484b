"""The type of a recipe: all that the loop must know of one model."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ratchet import answers
from ratchet.contract import Contract
from ratchet.errors import Refusal
from ratchet.judging import CHANGES, SLICES, ForecastJudging, Judging
from ratchet.releasing import STRATEGIES, Bound, Releasing, Step
from ratchet.settings import settings

__all__ = [
    "CHANGES", "SLICES", "STRATEGIES", "Between", "Bound", "DataSet", "Feed", "ForecastJudging", "Judging", "Recipe",
    "Releasing", "Step", "Suite", "Training", "families", "load", "names", "source",
]  # fmt: skip
"""A recipe imports from here alone, and from the module of its kind of input."""


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

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch_size) < 1 or not self.learning_rate > 0:
            raise ValueError("epochs and batch_size are at least 1, and learning_rate is above 0")


@dataclass(frozen=True)
class Between:
    """Numbers from low to high, whole ones where both are; `log` where their scale is to be searched."""

    low: float
    high: float
    log: bool = False


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
    groups: tuple[str, ...] = ()
    """Of people, that a record's `group` may name; where there are none, no group is kept."""
    data: DataSet
    batches: tuple[Feed, ...]
    """The recipe's own batches, in order: the first is what the first run trains on."""
    benchmark: Feed
    """Never trained on; one of its records that arrives in a batch goes to quarantine."""
    suite: Suite = Suite()
    training: Training = Training()
    judging: Judging | ForecastJudging = field(default_factory=Judging)
    releasing: Releasing = field(default_factory=Releasing)
    record_inputs: bool = False
    """Whether a bento may remember raw inputs for a while, to replay them to a challenger."""
    show_inputs: bool = False
    """Whether raw inputs may stand in artifacts, the golden set among them; where not, made ones do."""
    memory_mb: int = 1024
    """What a process of its service may take: of a GPU where it runs on one (more than 700 then), else of the host."""
    network: Callable[[tuple[int, ...], int], Any] | None = None
    space: Mapping[str, Between | tuple[int | float, ...]] = field(default_factory=dict)
    """What a search may try, by the names of `Training` or of its family's parameters: a range, or some values."""

    def __post_init__(self) -> None:
        kind, judging = self.contract.kind, self.judging
        if (kind == "series") == bool(self.classes) or (kind == "series") != isinstance(judging, ForecastJudging):
            raise ValueError("a series has no classes and a ForecastJudging; others have classes and a Judging")
        if not isinstance(self.groups, tuple) or not all(isinstance(g, str) and g for g in self.groups):
            raise ValueError(f"groups are a tuple of names, not {self.groups!r}")
        if len(set(self.groups)) != len(self.groups):
            raise ValueError(f"a group is named twice: {self.groups!r}")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError(f"a class is named twice: {self.classes!r}")
        if self.network is None and self.training.family not in families(kind):
            known = ", ".join(families(kind))
            raise ValueError(f"{kind} has no family {self.training.family!r}; it has {known}")
        for name in judging.slices:
            if name not in SLICES[kind]:
                raise ValueError(f"{kind} has no slice {name!r}; it has {', '.join(SLICES[kind])}")
        if isinstance(judging, Judging):
            for name in (*judging.stays, *judging.drifts):
                if name not in CHANGES[kind]:
                    raise ValueError(f"{kind} has no change {name!r}; it has {', '.join(CHANGES[kind])}")
            if (judging.examples or judging.raises) and kind != "text":
                raise ValueError("only texts have examples, or words that are added")
            if judging.fairness and len(self.groups) < 2:
                raise ValueError("fairness is asked between groups: name at least two in `groups`")
            gaps = judging.fairness.values() if isinstance(judging.fairness, Mapping) else (None,)
            if not all(isinstance(most, int | float) and 0 <= most <= 1 for most in gaps):
                raise ValueError(f"fairness is a gap of 0 to 1 for each class, not {judging.fairness!r}")
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


def unread(name: str) -> str:
    """Why the recipe cannot be read; empty where it can."""
    try:
        load(name)
    except Refusal as refusal:
        return str(refusal)
    return ""
