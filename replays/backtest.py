"""Trains the models of a what-if offline, each once: on the first batch, and on what was labelled by then."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from models import candidate as candidates
from models import promise as promises
from models.evaluate import benchmark_checks
from models.training_inputs import NetworkInputs
from ratchet.contract import input_digest
from ratchet.evaluation import champion as champion_checks
from ratchet.evaluation.report import report
from ratchet.lake import split
from ratchet.lake.snapshot import Examples
from ratchet.lake.split import SIDES, Side
from ratchet.progress import Report
from ratchet.recipe import Recipe
from ratchet.scratch import scratch_folder
from ratchet.tasks import parts as tasks
from ratchet.types import Promise
from replays.stream import Stream


@dataclass(frozen=True)
class Model:
    known: int
    """The labelled records of the stream that it was trained on, in the order in which their labels came."""
    outputs: np.ndarray
    """For every record of the stream [N, width]."""
    losses: np.ndarray
    """Of these answers [N], by the true labels, in the task's own unit."""
    on_benchmark: np.ndarray
    """Its outputs [M, width] for the benchmark."""
    benchmark_loss: float
    """The mean loss of these."""
    promise: Promise
    seconds: float
    """Of CPU time that its training took, so that what else the machine does is left out."""


@dataclass
class Backtest:
    recipe: Recipe
    first: dict[Side, Examples]
    """What the first version is trained on, by side."""
    benchmark: Examples
    stream: Stream
    report: Report
    models: dict[int, Model] = field(default_factory=dict)

    @cached_property
    def sides(self) -> np.ndarray:
        """The side [N] of each record of the stream, by the digest of its input."""
        return np.array(
            [split.side(input_digest(self.stream.inputs[row : row + 1])) for row in range(len(self.stream))]
        )

    def came(self, start: int, stop: int) -> np.ndarray:
        """The rows of the stream with these labels, counted in the order in which labels came."""
        return np.argsort(self.stream.label_at, kind="stable")[start:stop]

    def model(self, known: int) -> Model:
        """The model of the first batch and of the first `known` labels that came."""
        if known not in self.models:
            self.models[known] = self._train(known)
        return self.models[known]

    def _train(self, known: int) -> Model:
        recipe, before = self.recipe, sum(os.times()[:4])
        inputs = self._inputs(known)
        with scratch_folder(outside_home=True) as folder, _stderr_in(folder / "stderr.log"):
            _, exported = candidates.fit(recipe, recipe.training, inputs, folder, lambda number, metrics: None)
            seconds = sum(os.times()[:4]) - before  # of this process, and of a trainer's own
            outputs, on_benchmark = exported.predict(self.stream.inputs), exported.predict(self.benchmark.inputs)
        answers = recipe.answers
        benchmark_loss = float(answers.losses(self.benchmark.targets, on_benchmark).mean())
        promise = promises.of_outputs(recipe, self.benchmark, on_benchmark)
        self.report(
            f"trained on {len(inputs.sides['train'])} records in {seconds:.1f} s of CPU ({len(self.models) + 1} models)"
        )
        losses = answers.losses(self.stream.targets, outputs)
        return Model(known, outputs, losses, on_benchmark, benchmark_loss, promise, seconds)

    def labelled_losses(self, model: Model, rows: np.ndarray) -> np.ndarray:
        """The losses of its answers to these rows, by the labels that came back."""
        if not len(rows):
            return np.empty(0)
        return self.recipe.answers.losses(self._targets(rows), model.outputs[rows])

    def _targets(self, rows: np.ndarray) -> np.ndarray:
        """By the labels that came back."""
        labels = np.array([self.stream.labels[row] for row in rows])
        targets: np.ndarray = tasks.labels(self.recipe.answers.task).targets(self.recipe.answers, labels)
        return targets

    def _inputs(self, known: int) -> NetworkInputs:
        came = self.came(0, known)
        sides = {side: self._joined(side, np.sort(came[self.sides[came] == side])) for side in SIDES}
        sides["train"] = self._window(sides["train"])
        contract = self.recipe.contract
        vocabulary = contract.learn_vocabulary(sides["train"].inputs)
        features = {side: contract.features(sides[side].inputs, vocabulary) for side in ("train", "validation")}
        train, validation = ((features[side], sides[side].targets) for side in ("train", "validation"))
        return NetworkInputs(sides, vocabulary, train, validation, None)

    def _joined(self, side: Side, rows: np.ndarray) -> Examples:
        """A side with these rows of the stream as they were labelled, the newest last."""
        older = self.first[side]
        if not len(rows):
            return older
        targets = self._targets(rows)
        return Examples(
            np.concatenate([older.inputs, self.stream.inputs[rows]]), np.concatenate([older.targets, targets])
        )

    def _window(self, side: Examples) -> Examples:
        """What the recipe's training sees of its training side: `recent` and `replay`."""
        training = self.recipe.training
        if not training.recent or len(side) <= training.recent:
            return side
        older = len(side) - training.recent
        kept = np.linspace(0, older, min(training.replay, older), endpoint=False).astype(int)
        rows = np.concatenate([kept, np.arange(older, len(side))])
        return Examples(side.inputs[rows], side.targets[rows])

    def is_blessed(self, candidate: Model, champion: Model, best: Model) -> bool:
        """Whether an evaluation on the benchmark and on the newest labelled records lets it replace the champion."""
        train = self.first["train"]
        rivals = ("champion", champion.on_benchmark), ("best", best.on_benchmark)
        checks = benchmark_checks(self.recipe, self.benchmark, candidate.on_benchmark, train, *rivals)
        came = self.came(champion.known, candidate.known)
        newest = np.sort(came[self.sides[came] == "test"])
        if len(newest) >= champion_checks.MIN_RECORDS:
            answers, criteria = self.recipe.answers, self.recipe.criteria
            margin = tasks.evaluation(answers.task).margin(answers, criteria.margin)
            rival, outputs = ("champion", champion.outputs[newest]), candidate.outputs[newest]
            checks.append(
                champion_checks.newest(answers, margin, self._targets(newest), outputs, rival, may_be_few=True)
            )
        return report(self.recipe.name, "candidate", "champion", "", checks).blessed


@contextmanager
def _stderr_in(path: Path) -> Iterator[None]:
    """Keeps what libraries print of a training out of sight; they write to the descriptor."""
    sys.stderr.flush()
    own = os.dup(2)
    try:
        with path.open("ab") as file:
            os.dup2(file.fileno(), 2)
        yield
    finally:
        os.dup2(own, 2)
        os.close(own)
