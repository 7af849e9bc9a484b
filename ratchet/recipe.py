"""The type of a recipe: all that the loop needs to know about one model."""

import importlib.util
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ratchet import bounds, endpoints, kinds, slices, tasks
from ratchet.answers import Answers
from ratchet.bounds import Count, Index, NotNegative, Positive
from ratchet.contract import Contract
from ratchet.errors import Refusal
from ratchet.layout import DETECTED, Layout
from ratchet.query import Query
from ratchet.release_plan import STRATEGIES, Bound, ReleasePlan, Step
from ratchet.settings import is_printable, settings
from ratchet.suite import Suite
from ratchet.tasks import parts
from ratchet.tasks.classification.answers import Classification
from ratchet.tasks.classification.criteria import Criteria
from ratchet.tasks.forecast.criteria import ForecastCriteria
from ratchet.tasks.multilabel.answers import MultiLabel
from ratchet.tasks.multilabel.criteria import MultiLabelCriteria
from ratchet.tasks.regression.answers import Regression
from ratchet.tasks.regression.criteria import RegressionCriteria
from ratchet.watch_plan import Log, Watch

__all__ = [
    "STRATEGIES", "Bound", "Classification", "Criteria", "DataSet", "Feed", "ForecastCriteria", "Layout", "Log",
    "MultiLabel", "MultiLabelCriteria", "Query", "Range",
    "Recipe", "Regression", "RegressionCriteria", "ReleasePlan", "Step", "Suite", "Training", "Watch",
    "families", "load", "names", "source",
]  # fmt: skip
"""A recipe imports from here, from the module of its kind of input and that of its task, and from nowhere else."""


@dataclass(frozen=True)
class Feed:
    """Records `start`..`stop` of the recipe's data set: from a pair of files, or from one that also holds labels."""

    inputs: str
    labels: str = ""
    start: Index = 0
    stop: Index | None = None
    every: int = 0
    """If positive, only every n-th of these records; if negative, all but those."""


@dataclass(frozen=True)
class DataSet:
    """Files or folders with the pinned SHA-256 of their uncompressed bytes, and where they may be found.

    They are looked for in the folder that `RATCHET_<SETTING>` names, then in `folders`, and are then downloaded from
    `url`. The name of `setting` ends in `_dir`: settings with such a name are passed on to the workers.
    """

    setting: str
    folders: tuple[str, ...]
    url: str
    files: Mapping[str, str]
    debian: str = ""
    """A Debian package that installs the files into one of `folders`."""
    layout: Layout = DETECTED
    """How these files, and other batches of the recipe, are written."""
    query: Query | None = None
    """Where later batches are rows of a database."""
    prepare: Callable[[Path], Iterable[Mapping[str, Any]]] | None = None
    """Reads the records of a file whose format Ratchet does not know, as rows of a Parquet file in `Feed`'s order."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9_]+_dir", str(self.setting)):
            raise ValueError(f"the setting {self.setting!r} does not end in _dir")
        for name, digest in self.files.items():
            if name in ("", ".", "..") or "/" in name or "\0" in name:
                raise ValueError(f"{name!r} is no name of a file in a folder")
            if not re.fullmatch(r"[0-9a-f]{64}", str(digest)):
                raise ValueError(f"the digest of {name} is not 64 hexadecimal digits")

    @property
    def variable(self) -> str:
        return f"RATCHET_{self.setting.upper()}"


RESERVED = ("v2", endpoints.STATS.removeprefix("/"))
"""Names that the gateway uses itself."""

VARIANTS = ("fp16", "int8")

_NEEDS = {
    "cnn": "pixels",
    "resnet": "pixels",
    "rnn": "steps",
    "transformer": "tokens",
    "mlp": "columns",
    "boosting": "columns",
}
"""The families, and how a network must begin for each."""
FAMILIES = tuple(_NEEDS)
_MOVED = {"ratchet.images": "ratchet.kinds.image", "ratchet.texts": "ratchet.kinds.text",
          "ratchet.series": "ratchet.kinds.series"}  # fmt: skip
"""Where a recipe of 0.1.0 imported its contract from, and where it is now."""
_MAX_RECIPE_NAME, _MAX_PURPOSE = 63, 2000


def families(kind: str, task: str) -> tuple[str, ...]:
    """The families that accept this kind of input and learn this task."""
    network, accepts = kinds.part(kind, "network"), parts.criteria(task).accepts
    return tuple(name for name, start in _NEEDS.items() if hasattr(network, start) and accepts(name))


@dataclass(frozen=True)
class Training:
    family: str = "cnn"
    parameters: Mapping[str, int | float] = field(default_factory=dict)
    epochs: Count = 5
    batch_size: Count = 32
    learning_rate: Positive = 0.001
    seed: Index = 20240229
    initial_weights: str = ""
    """SHA-256 of the weights of the version that training starts from; empty for a cold start."""
    frozen_epochs: Index = 0
    """Epochs in which a `Backbone` is frozen; then it is open, at a tenth of the learning rate."""
    recent: Index = 0
    """If positive, so many of the newest records of the training side are trained on, instead of all."""
    replay: Index = 0
    """And so many of the older ones, chosen by their digests, so that what was learnt is not lost."""


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, integers if both are; `log` searches them on a logarithmic scale."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One model. `version` is part of the key of every stage: raise it when the meaning changes.

    `network` replaces the family: a function of the shape of one input as the network receives it and of the number
    of outputs, which imports keras inside and returns an uncompiled model.
    """

    name: str
    version: Count
    purpose: str
    contract: Contract
    task: Answers | None = None
    """What it answers; None for a kind of input that says so itself, as a series is forecast."""
    groups: tuple[str, ...] = ()
    """Groups of people that a record's `group` may name; if empty, no group is kept."""
    data: DataSet
    batches: tuple[Feed, ...]
    """The recipe's own batches in order; the first run trains on the first."""
    benchmark: Feed
    """Never trained on. A record of it that arrives in a batch goes to quarantine."""
    suite: Suite = field(default_factory=Suite)
    training: Training = Training()
    variants: tuple[str, ...] = VARIANTS
    """Smaller forms of the model that are tried beside fp32; if empty, fp32 is packaged whatever a host measures."""
    criteria: parts.Criteria
    release_plan: ReleasePlan = field(default_factory=ReleasePlan)
    approval_hours: NotNegative = 0.0
    """How long a run waits for a person's approval before it releases a version; 0 asks nobody."""
    record_inputs: bool = False
    """Whether a bento may keep raw inputs for a while, to replay them to a challenger."""
    log: Log = field(default_factory=Log)
    watch: Watch = field(default_factory=Watch)
    show_inputs: bool = False
    """Whether raw inputs may appear in artifacts, such as the golden set; if not, synthetic ones do."""
    memory_mb: Count = 1024
    """Memory limit of one process of the service: on a GPU (then above 700), or on a host without one."""
    network: Callable[[tuple[int, ...], int], Any] | None = None
    train: str = ""
    """A trainer of one's own, `package.module:function`, which replaces the family; see `ratchet.trainer`."""
    requirements: str = ""
    """A file of requirements beside the recipe, for the trainer's environment; empty for Ratchet's own."""
    search_space: Mapping[str, Range | tuple[int | float, ...]] = field(default_factory=dict)
    """What a search may try, by the names of `Training` or of the family's parameters: a range, or some values."""

    def __post_init__(self) -> None:
        bounds.check(self, "recipe")
        self._check_names()
        self._check_feeds()
        bounds.require_names("variants", self.variants)
        bounds.known("variant", self.variants, VARIANTS)
        for step in self.release_plan.steps:
            if step.weight + step.mirror > 100:
                raise ValueError(f"a step has more than 100 %: {step.weight} % and {step.mirror} % mirrored")
        self._check_task()
        if self.log.redact:
            self._check_log()
        if self.watch.layer and not self.log.inputs:
            raise ValueError("`watch.layer` compares inputs, so `log.inputs` must keep them")

    def _check_task(self) -> None:
        kind, implied = self.contract.kind, self.contract.answers()
        if (implied is None) == (self.task is None):
            what = "says itself what is answered: leave `task` out" if implied else "needs a `task`"
            raise ValueError(f"a recipe for inputs of the kind {kind} {what}")
        module = parts.criteria(self.answers.task)
        if type(self.criteria) is not module.CRITERIA:
            wanted = f"{module.CRITERIA.__name__}, not {type(self.criteria).__name__}"
            raise ValueError(f"the criteria of the task {self.answers.task} are {wanted}")
        if self.train and (self.network or not re.fullmatch(r"[\w.]+:\w+", self.train)):
            raise ValueError(f"`train` is `package.module:function`, and without `network`, not {self.train!r}")
        if self.network is None and not self.train:
            bounds.known("family", [self.training.family], families(kind, self.answers.task))
        if self.training.replay and not self.training.recent:
            raise ValueError("`replay` adds older records to the `recent` ones: give both")
        if self.watch.layer and implied is not None:
            raise ValueError("`watch.layer` compares single records, and the values of a series belong together")
        if self.training.replay and implied is not None:
            raise ValueError("`replay` chooses single records, and the values of a series belong together")
        bounds.known("slice", self.criteria.slices, slices.names(self.contract, self.answers.task))
        module.check(self)

    def _check_log(self) -> None:
        try:
            kinds.part(self.contract.kind, "logged").redacted(self.contract, self.contract.example(), self.log.redact)
        except re.error as error:
            raise ValueError(f"`redact` has an invalid regular expression ({error})") from error

    def _check_names(self) -> None:
        if len(self.name) > _MAX_RECIPE_NAME:
            raise ValueError(f"the name has more than {_MAX_RECIPE_NAME} characters")
        if self.name in RESERVED:
            raise ValueError(f"the gateway uses the name {self.name!r} itself")
        if (
            not self.purpose.strip()
            or len(self.purpose) > _MAX_PURPOSE
            or not is_printable(" ".join(self.purpose.splitlines()))
        ):
            raise ValueError(f"the purpose is not a printable text of 1 to {_MAX_PURPOSE} characters")
        bounds.require_names("groups", self.groups)

    def _check_feeds(self) -> None:
        if not self.batches:
            raise ValueError("batches are empty: name at least the one that the first run trains on")
        for feed in (*self.batches, self.benchmark):
            if feed.stop is not None and feed.stop <= feed.start:
                raise ValueError(f"a feed stops at {feed.stop}, before its first record {feed.start}")
            for name in filter(None, (feed.inputs, feed.labels)):
                if name not in self.data.files:
                    raise ValueError(f"a feed names {name!r}, and the files are: {', '.join(self.data.files)}")
        for name, values in self.search_space.items():
            if values == ():
                raise ValueError(f"the search space of {name} is empty")
        for range_ in (each for each in self.search_space.values() if isinstance(each, Range)):
            if range_.low > range_.high or (range_.log and range_.low <= 0):
                raise ValueError(f"a range must rise, and be above 0 on a logarithmic scale, not {range_}")

    @property
    def answers(self) -> Answers:
        answers = self.task or self.contract.answers()
        assert answers, "a recipe is checked when it is read"
        return answers


def names() -> list[str]:
    """Every recipe, without importing any. Raises Refusal if a recipe folder is missing."""
    files = (file for folder in _folders() for file in sorted(folder.glob("*.py")))
    return sorted({file.stem.replace("_", "-") for file in files if not file.stem.startswith("_")})


def _folders() -> tuple[Path, ...]:
    for folder in settings().recipe_folders:
        if not folder.is_dir():
            raise Refusal("there is no such folder", folder, "Correct RATCHET_RECIPES")
    return settings().recipe_folders


def files(name: str) -> list[Path]:
    """The files with the name of a recipe, one for each folder that has one. Only the first is read."""
    if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
        return []
    paths = (folder / f"{name.replace('-', '_')}.py" for folder in _folders())
    return [path for path in paths if path.is_file()]


def source(name: str) -> Path:
    """The file of a recipe. Raises Refusal if there is none."""
    if paths := files(name):
        return paths[0]
    raise Refusal("there is no such recipe", name, f"Choose one of: {', '.join(names()) or 'none'}")


def load(name: str) -> Recipe:
    """The recipe `name`; only its file is imported. Raises Refusal if it is missing or holds no recipe."""
    path = source(name)
    spec = importlib.util.spec_from_file_location(f"recipes.{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    for registry in (kinds, tasks):  # it may have a kind or a task of its own
        registry.look_outside()
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # one recipe must not end a command that reads them all
        what = f"the recipe cannot be read ({error or type(error).__name__})"
        moved = _MOVED.get(str(getattr(error, "name", "")))
        next = f"Import its contract from {moved}" if moved else "Correct the file"
        if "unexpected keyword argument 'classes'" in str(error):
            next = "Write task=Classification(classes), imported from ratchet.recipe"
        raise Refusal(what, path, next) from error
    recipe = getattr(module, "recipe", None)
    if not isinstance(recipe, Recipe) or recipe.name != name:
        raise Refusal(f"the file holds no `recipe = Recipe(name={name!r}, ...)`", path, "Correct the file")
    return recipe


def load_error(name: str) -> str:
    """Why the recipe cannot be read; empty if it can."""
    try:
        load(name)
    except Refusal as refusal:
        return str(refusal)
    return ""
