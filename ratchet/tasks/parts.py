"""What the modules of a task hold, besides its answers. They load only where they are used.

`criteria` is what a recipe requires of an evaluation; `labels` is what the lake keeps of a label, and what a batch of
them must be; `training` is the end of a network; `evaluation` checks and explains; `scaffold` outlines a recipe. None
of them travels in a bento.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ratchet.evaluation.thirds import Masks
from ratchet.tasks import part

if TYPE_CHECKING:
    import pyarrow as pa

    from ratchet.evaluation.comparison import Margin
    from ratchet.expectation import Expectation
    from ratchet.kinds.parts import Start
    from ratchet.lake.outline import Fields
    from ratchet.lake.snapshot import Examples
    from ratchet.lake.split import Side
    from ratchet.recipe import Recipe
    from ratchet.suite import Suite
    from ratchet.types import Bins, Check

Predict = Callable[[np.ndarray], np.ndarray]
"""Outputs [N, width] for inputs [N, ...]."""


class Criteria(Protocol):
    """What every task's criteria say."""

    @property
    def margin(self) -> float:
        """Within which a candidate counts as no worse than the champion."""

    @property
    def slices(self) -> tuple[str, ...]:
        """Slices that are compared one by one."""

    @property
    def slice_margin(self) -> float: ...

    @property
    def one_column(self) -> float | None:
        """The largest share of the best constant's error that one column of a table may save."""

    @property
    def unseen(self) -> float | None:
        """The largest share of the benchmark's tokens or categories that may be new to the model."""

    @property
    def latency_ms(self) -> float | None: ...

    @property
    def size_mb(self) -> float | None: ...


class CriteriaModule(Protocol):
    @property
    def CRITERIA(self) -> type[Any]:
        """The dataclass of the criteria."""

    def accepts(self, family: str) -> bool:
        """Whether the family can learn this task."""

    def without_thresholds(self, criteria: Any) -> Any:
        """The same with comparisons alone, for a replay of few records."""

    def check(self, recipe: Recipe) -> None:
        """Raises ValueError if answers, criteria and the rest of the recipe do not fit together."""


class Labels(Protocol):
    """How the lake keeps a label, what is measured of it, and what a batch of labels must be."""

    @property
    def TYPE(self) -> pa.DataType:
        """The type of the lake's column."""

    def check(self, answers: Any, labels: Collection[str]) -> None:
        """Raises Refusal if the different labels of a batch cannot be meant as they stand together."""

    def describe(self, answers: Any, label: Any) -> str:
        """A label for people; empty if there is none."""

    def expected(self, answers: Any) -> tuple[str, ...]:
        """The names that `counts` has if nothing is missing; empty if labels are not few."""

    def counts(self, answers: Any, labels: Sequence[Any]) -> Mapping[str, int]:
        """Records by label; empty if labels are not few."""

    def targets(self, answers: Any, labels: np.ndarray) -> np.ndarray:
        """Targets [N, ...] from the lake's column [N]."""

    @property
    def SHARES(self) -> tuple[str, ...]:
        """Which of the statistics describe a batch as a whole: their drift says nothing."""

    def statistics(self, answers: Any, labels: Sequence[Any], label_counts: Mapping[Any, int]) -> dict[str, Any]:
        """The columns that a suite checks, a value for each of these labels; `label` is a name, or a list of names.

        The labels may be a sample of a batch's. If there are `SHARES`, `label_counts` has the records of the whole
        batch by label; otherwise it is empty.
        """

    def expectations(self, answers: Any, suite: Suite) -> tuple[Expectation, ...]:
        """What these columns must be."""


class Training(Protocol):
    """The end of a network, in Keras's tensors."""

    def loss(self, answers: Any) -> str:
        """The name of Keras's class."""

    def end(self, answers: Any, start: Start, x: Any) -> Any:
        """The output [N, width] from the family's features `x` [N, any]."""

    def adapt(self, model: Any, targets: np.ndarray) -> None:
        """Sets what the end of a new network takes from the training side's targets."""

    def temperature(self, targets: np.ndarray, outputs: np.ndarray) -> float:
        """By which logits are divided; 1 where there are none."""

    def confusion(self, answers: Any, targets: np.ndarray, outputs: np.ndarray) -> tuple[tuple[int, ...], ...]:
        """Records by true class and predicted class; empty where there are none."""


@dataclass(frozen=True)
class Described:
    """One prediction for people."""

    input: str
    """As the kind of input renders it, or JSON of a window, its forecast and the actual values."""
    prediction: str
    truth: str
    """Empty if it is unknown."""


class Evaluation(Protocol):
    """Checks, slices and what is explained. Pure."""

    @property
    def SLICES(self) -> Mapping[str, Callable[[Any, np.ndarray], Masks]]:
        """Slices by the targets [N, ...], by the name that a recipe gives."""

    def margin(self, answers: Any, value: float, min_records: int = 1) -> Margin:
        """For the comparison of two models."""

    def benchmark_checks(
        self, recipe: Recipe, benchmark: Examples, outputs: np.ndarray, trained: Examples
    ) -> list[Check]:
        """Thresholds and baselines, from the outputs [N, width] for the benchmark."""

    def model_checks(
        self, recipe: Recipe, predict: Predict, benchmark: Examples, sides: Mapping[Side, Examples], outputs: np.ndarray
    ) -> list[Check]:
        """The checks that need the model, or the sides of the candidate's snapshot."""

    def simple_models(self, recipe: Recipe, benchmark: Examples, trained: Examples) -> Mapping[str, np.ndarray]:
        """Outputs [N, width] for the benchmark of the simple models that a check compares with; often none."""

    def constants(self, answers: Any, targets: np.ndarray) -> np.ndarray:
        """Outputs [K, width] that are the same for every input, one of which is the best such answer to the targets."""

    def reliability(self, answers: Any, targets: np.ndarray, outputs: np.ndarray) -> Bins:
        """Accuracy by confidence; empty where there is none."""

    def explained(self, answers: Any, targets: np.ndarray, outputs: np.ndarray, count: int) -> Mapping[str, list[int]]:
        """The records whose predictions are explained, up to `count` of each sort."""

    def examples(self, recipe: Recipe) -> Sequence[tuple[np.ndarray, Any]]:
        """Inputs [1, ...] that the recipe itself names, each with its target."""

    def described(self, recipe: Recipe, input: np.ndarray, output: np.ndarray, target: Any) -> Described:
        """The prediction [width] for an input [1, ...], for people; `target` is None if it is unknown."""


class Scaffold(Protocol):
    """Outlines the answers of a recipe."""

    def fit(self, labels: Sequence[str | None]) -> float:
        """From 0 to 1, how probable it is that these labels are meant for this task."""

    def fields(self, rows: pa.Table, source: Path) -> Fields:
        """For the rows that ingest would accept. Raises Refusal if no recipe can be made of their labels."""


def criteria(task: str) -> CriteriaModule:
    """The module of a task with its criteria; the others below are like it."""
    module: CriteriaModule = part(task, "criteria")
    return module


def labels(task: str) -> Labels:
    module: Labels = part(task, "labels")
    return module


def training(task: str) -> Training:
    module: Training = part(task, "training")
    return module


def evaluation(task: str) -> Evaluation:
    module: Evaluation = part(task, "evaluation")
    return module


def scaffold(task: str) -> Scaffold:
    module: Scaffold = part(task, "scaffold")
    return module


if TYPE_CHECKING:  # the project's own modules are checked against the protocols
    from ratchet.answers import Answers
    from ratchet.tasks.classification import Classification
    from ratchet.tasks.classification import criteria as classification_criteria
    from ratchet.tasks.classification import evaluation as classification_evaluation
    from ratchet.tasks.classification import labels as classification_labels
    from ratchet.tasks.classification import scaffold as classification_scaffold
    from ratchet.tasks.classification import training as classification_training
    from ratchet.tasks.forecast import Forecast
    from ratchet.tasks.forecast import criteria as forecast_criteria
    from ratchet.tasks.forecast import evaluation as forecast_evaluation
    from ratchet.tasks.forecast import labels as forecast_labels
    from ratchet.tasks.forecast import scaffold as forecast_scaffold
    from ratchet.tasks.forecast import training as forecast_training
    from ratchet.tasks.multilabel import MultiLabel
    from ratchet.tasks.multilabel import criteria as multilabel_criteria
    from ratchet.tasks.multilabel import evaluation as multilabel_evaluation
    from ratchet.tasks.multilabel import labels as multilabel_labels
    from ratchet.tasks.multilabel import scaffold as multilabel_scaffold
    from ratchet.tasks.multilabel import training as multilabel_training
    from ratchet.tasks.regression import Regression
    from ratchet.tasks.regression import criteria as regression_criteria
    from ratchet.tasks.regression import evaluation as regression_evaluation
    from ratchet.tasks.regression import labels as regression_labels
    from ratchet.tasks.regression import scaffold as regression_scaffold
    from ratchet.tasks.regression import training as regression_training

    def _are_as_described(
        answers: Answers,
        criteria: CriteriaModule,
        labels: Labels,
        training: Training,
        evaluation: Evaluation,
        scaffold: Scaffold,
    ) -> None: ...

    _are_as_described(
        Classification(()),
        classification_criteria,
        classification_labels,
        classification_training,
        classification_evaluation,
        classification_scaffold,
    )
    _are_as_described(
        Forecast(1, 1.0), forecast_criteria, forecast_labels, forecast_training, forecast_evaluation, forecast_scaffold
    )
    _are_as_described(
        MultiLabel(()),
        multilabel_criteria,
        multilabel_labels,
        multilabel_training,
        multilabel_evaluation,
        multilabel_scaffold,
    )
    _are_as_described(
        Regression(0, 1, 1),
        regression_criteria,
        regression_labels,
        regression_training,
        regression_evaluation,
        regression_scaffold,
    )
