"""Joins labels that came back with the predictions that they are for: each label counts once, and the newest one holds.

The rule. A label belongs to the first answer that a caller got for its request and row. One that says the same as the
newest label changes nothing; another is a correction, and the earlier one stays in the history. A label whose
prediction is not there waits for `Watch.label_days` and is then given up.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ratchet import clock
from ratchet.answers import Answers
from ratchet.errors import Refusal
from ratchet.lake import predictions, table
from ratchet.lake.ingest import lake
from ratchet.recipe import Recipe
from ratchet.tasks import parts as tasks

Key = tuple[str, int]
"""A request's id, and the row of its batch."""
_AT = pa.timestamp("us", tz="UTC")
_WHEN = {"predicted_at": _AT, "labelled_at": _AT}
SCHEMA = pa.schema({
    "request": pa.string(), "row": pa.int32(), "revision": pa.string(), **_WHEN, "label": pa.string(),
    "correction": pa.int32(), "loss": pa.float64(), "output": pa.list_(pa.float32()), "turn": pa.int64(),
})  # fmt: skip
"""`correction` counts the labels before it, and `turn` the commits of the table."""


@dataclass(frozen=True)
class Label:
    key: Key
    label: str
    at: datetime


@dataclass(frozen=True)
class Answer:
    """The first answer that a caller got."""

    key: Key
    revision: str
    at: datetime
    output: Sequence[float]


@dataclass(frozen=True)
class Known:
    """The newest label that was joined, and the number of labels before it."""

    label: str
    at: datetime
    correction: int


@dataclass(frozen=True)
class Outcome:
    answer: Answer
    label: Label
    correction: int


@dataclass(frozen=True)
class Joined:
    outcomes: tuple[Outcome, ...]
    waiting: int
    given_up: int
    requests: frozenset[str] = frozenset()
    """Those of all labels that have a prediction."""


def join(
    labels: Iterable[Label],
    answers: Mapping[Key, Answer],
    known: Mapping[Key, Known],
    now: datetime,
    patience: timedelta,
) -> Joined:
    """The outcomes that are new, by the rule above. Pure."""
    newest, outcomes, waiting, given_up = dict(known), [], 0, 0
    for label in sorted(labels, key=lambda each: each.at):
        answer, before = answers.get(label.key), newest.get(label.key)
        if answer is None:
            late = label.at < now - patience
            waiting, given_up = waiting + (not late), given_up + late
        elif before is None or (label.at > before.at and label.label != before.label):
            correction = 0 if before is None else before.correction + 1
            outcomes.append(Outcome(answer, label, correction))
            newest[label.key] = Known(label.label, label.at, correction)
    return Joined(tuple(outcomes), waiting, given_up, frozenset(request for request, _ in answers))


def path(recipe: str) -> Path:
    return lake(recipe) / "outcomes"


def turn(recipe: str) -> int:
    """The last turn in which labels were joined; 0 before the first."""
    return table.turn_of(path(recipe), "join")


def update(recipe: Recipe, who: str, now: datetime | None = None) -> Joined:
    """Joins what has come, and appends the new outcomes in one commit."""
    now, patience = now or clock.utc(), timedelta(days=recipe.watch.label_days)
    next_turn = turn(recipe.name) + 1  # read first: of several at the same moment, one appends
    labels = _labels(recipe, now - 2 * patience)
    requests = {label.key[0] for label in labels}
    if not requests:
        return Joined((), 0, 0)
    joined = join(labels, _answers(recipe.name, requests), _known(recipe.name, requests), now, patience)
    if joined.outcomes:
        rows = _rows(recipe, joined.outcomes, next_turn)
        table.append(path(recipe.name), rows, "join", turn=next_turn, versions=False, who=who)
    return joined


def _canonical(recipe: Recipe, label: str) -> str | None:
    """One spelling of a label, which the task reads again; None if the recipe has no such label any more."""
    try:
        value = recipe.answers.read_label(label)
    except Refusal:
        return None
    return spelling(recipe.answers, value)


def spelling(answers: Answers, label: Any) -> str:
    """A label that the task has read, as a text that it reads again."""
    return answers.classes[label] if answers.classes else str(label)


def _labels(recipe: Recipe, since: datetime) -> list[Label]:
    """The labels since then, each in one spelling; those that the recipe no longer has are left out."""
    labels = []
    for row in _select(predictions.feedback(recipe.name), ["request", "row", "label", "at"], pc.field("at") >= since):
        if (label := _canonical(recipe, row["label"])) is not None:
            labels.append(Label((row["request"], row["row"]), label, row["at"]))
    return labels


def _answers(recipe: str, requests: set[str]) -> dict[Key, Answer]:
    mine = table.one_of("request", requests) & (pc.field("origin") == "caller")
    answers: dict[Key, Answer] = {}
    for row in _select(predictions.predictions(recipe), ["request", "row", "revision", "at", "output", "origin"], mine):
        answer = Answer((row["request"], row["row"]), row["revision"], row["at"], row["output"])
        if answer.key not in answers or answer.at < answers[answer.key].at:
            answers[answer.key] = answer
    return answers


def _known(recipe: str, requests: set[str]) -> dict[Key, Known]:
    mine, known = table.one_of("request", requests), dict[Key, Known]()
    for row in _select(path(recipe), ["request", "row", "label", "labelled_at", "correction"], mine):
        key = row["request"], row["row"]
        if key not in known or row["correction"] > known[key].correction:
            known[key] = Known(row["label"], row["labelled_at"], row["correction"])
    return known


def _select(path: Path, columns: list[str], where: pc.Expression) -> Iterator[dict[str, Any]]:
    for part in table.select(path, columns, where):
        yield from part.to_pylist()


def _rows(recipe: Recipe, outcomes: Sequence[Outcome], turn: int) -> pa.Table:
    answers = recipe.answers
    labels = np.array([answers.read_label(each.label.label) for each in outcomes])
    targets = tasks.labels(answers.task).targets(answers, labels)
    losses = answers.losses(targets, np.array([each.answer.output for each in outcomes], np.float32))
    rows = [
        {
            "request": each.answer.key[0],
            "row": each.answer.key[1],
            "revision": each.answer.revision,
            "predicted_at": each.answer.at,
            "labelled_at": each.label.at,
            "label": each.label.label,
            "correction": each.correction,
            "loss": float(loss),
            "output": each.answer.output,
            "turn": turn,
        }
        for each, loss in zip(outcomes, losses, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)
