"""What callers sent in the time that is played: inputs in their order, what became of each, and when that was known."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from ratchet.errors import Refusal
from ratchet.lake import ingest, learning, served
from ratchet.lake.snapshot import examples
from ratchet.recipe import Recipe
from ratchet.tasks import parts as tasks

YEAR = 365 * 86400.0
_BEGINNING = 1_735_689_600.0
"""2025, for records that name no time."""


@dataclass(frozen=True)
class Stream:
    """Records in the order of time."""

    inputs: np.ndarray
    """[N, ...], as the contract has them."""
    targets: np.ndarray
    """[N, ...], as the task has them."""
    labels: Sequence[Any]
    """[N], as the lake has them."""
    at: np.ndarray
    """When each was sent [N], in seconds since 1970."""
    label_at: np.ndarray
    """When its label was known [N]."""

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, rows: np.ndarray) -> "Stream":
        """These rows alone."""
        labels = [self.labels[row] for row in rows]
        return Stream(self.inputs[rows], self.targets[rows], labels, self.at[rows], self.label_at[rows])

    def with_inputs(self, inputs: np.ndarray) -> "Stream":
        return replace(self, inputs=inputs)

    def with_labels(self, labels: Sequence[Any]) -> "Stream":
        return replace(self, labels=labels)

    def moved_to(self, at: np.ndarray) -> "Stream":
        """The same at other times [N]; labels come as late as before."""
        return replace(self, at=at, label_at=at + (self.label_at - self.at))

    def followed_by(self, later: "Stream") -> "Stream":
        both = {name: np.concatenate([getattr(self, name), getattr(later, name)])
                for name in ("inputs", "targets", "at", "label_at")}  # fmt: skip
        return Stream(labels=[*self.labels, *later.labels], **both)


def of_recipe(recipe: Recipe, most: int, label_days: float, seed: int) -> Stream:
    """What would have been served once the recipe's first batch was there: the records of its later batches.

    At most so many, evenly chosen. Records without a time are spread evenly over a year, and their order is drawn. Half
    of the labels come within `label_days`, and a few much later. Raises Refusal if the recipe has one batch alone.
    """
    require_labels(recipe)
    if len(recipe.batches) < 2:
        what = "there are no records after those that the first version is trained on"
        raise Refusal(what, recipe.name, "Give the recipe a second batch, or replay what it served: --from HOME")
    benchmark = ingest.benchmark(recipe)
    rows = pa.concat_tables([ingest.read_only(recipe, feed, benchmark).accepted for feed in recipe.batches[1:]])
    if not len(rows):
        raise Refusal("no record of its later batches is accepted", recipe.name, "See `ratchet status`")
    chance, times = np.random.default_rng(seed), rows["captured_at"]
    if len(times.unique()) < len(recipe.batches):  # they have the time of reading, one for each batch
        at, order = np.linspace(_BEGINNING, _BEGINNING + YEAR, len(rows)), chance.permutation(len(rows))
    else:
        at = times.cast(pa.timestamp("us")).cast(pa.int64()).to_numpy() / 1e6
        order = np.argsort(at, kind="stable")
        at = at[order]
    step = max(1, -(-len(rows) // most))
    chosen, at = order[::step], at[::step]
    whole = rows.take(pa.array(chosen))
    known = examples(recipe, whole)
    if known.sample_weights is not None:
        raise Refusal("records with weights are not replayed", recipe.name, "Leave the column of weights out")
    delays = label_days * 86400 * chance.lognormal(0.0, 1.0, len(chosen))
    return Stream(known.inputs, known.targets, whole["label"].to_pylist(), at, at + delays)


def require_labels(recipe: Recipe) -> None:
    """Raises Refusal for a recipe that forecasts."""
    if recipe.contract.answers() is not None:
        raise Refusal("a forecast has no labels that come back", recipe.name, "Choose another recipe")


def of_log(recipe: Recipe, most: int) -> Stream:
    """What callers sent to the recipe of this home, as far as the input is kept and a label came back.

    At most so many, evenly chosen. Raises Refusal if there is no such prediction.
    """
    require_labels(recipe)
    labelled = sorted(served.newest_outcomes(recipe.name), key=lambda row: (row["predicted_at"], row["request"]))
    newest = {(row["request"], row["row"]): row for row in labelled[:: max(1, -(-len(labelled) // most))]}
    inputs, at, known = list[np.ndarray](), list[float](), list[dict[str, Any]]()
    for key, packed in learning.inputs_of(recipe, set(newest)):
        outcome = newest[key]
        with suppress(Refusal):  # the contract or the task no longer has it
            label = recipe.answers.read_label(outcome["label"])
            inputs.append(recipe.contract.unpack(packed, 1, key[0]))
            at.append(outcome["predicted_at"].timestamp())
            known.append({"label": label, "at": outcome["labelled_at"].timestamp()})
    if not known:
        what = f"{len(labelled)} predictions of it have a label in this home's lake, and none of these its input"
        next = f"Set `log=Log(inputs=True)` in the recipe, run `ratchet loop {recipe.name}`, and send labels back"
        raise Refusal(what, recipe.name, next)
    order = np.argsort(at, kind="stable")
    labels = [known[row]["label"] for row in order]
    targets = tasks.labels(recipe.answers.task).targets(recipe.answers, np.array(labels))
    label_at = np.array([known[row]["at"] for row in order])
    return Stream(np.concatenate(inputs)[order], targets, labels, np.array(at)[order], label_at)


@dataclass(frozen=True)
class Part:
    """What was sent between two looks."""

    begins: float
    """Seconds since 1970."""
    ends: float
    rows: np.ndarray
    """The numbers [N] of its records in the stream."""


def periods(stream: Stream, seconds: float) -> list[Part]:
    """The parts of so many seconds; one in which nothing was sent is left out."""
    numbers = ((stream.at - stream.at[0]) // seconds).astype(int)
    begins = stream.at[0] + np.unique(numbers) * seconds
    return [
        Part(float(begin), float(begin + seconds), np.flatnonzero(numbers == number))
        for number, begin in zip(np.unique(numbers), begins, strict=True)
    ]
