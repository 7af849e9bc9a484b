"""What a revision answered to callers, as the lake has it: for watching it, in the order of time."""

import json
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ratchet.errors import Refusal
from ratchet.evaluation import proportion
from ratchet.lake import learning, outcomes, predictions, table
from ratchet.recipe import Recipe

_MINUTE, _HOUR, _DAY, _WEEK = 60.0, 3600.0, 86400.0, 7 * 86400.0
_SLOWEST = 0.95
_MOST = 100_000
"""The newest labels that a revision is watched by."""


@dataclass(frozen=True)
class Window:
    """The newest full window of predictions, oldest first."""

    since: float
    until: float
    """When its first and its last one were made, in seconds since 1970."""
    outputs: np.ndarray
    """[window, width]."""
    measured: Sequence[Mapping[str, Any]]
    """What was measured of each input."""


@dataclass(frozen=True)
class Predictions:
    """Predictions that callers got from a revision."""

    count: int
    at: np.ndarray
    """When the newest ones [N] were made, in seconds since 1970, oldest first."""
    outputs: np.ndarray
    """Of these, [N, width]."""
    window: Window | None
    """None before one is full."""


@dataclass(frozen=True)
class Labelled:
    """Predictions [M] whose newest label is known, in the order in which the labels were joined.

    Of those that were joined at once, in the order of the predictions: a file of labels may be sorted by anything.
    """

    at: np.ndarray
    """When they were made, in seconds since 1970."""
    losses: np.ndarray
    outputs: np.ndarray


def of_revision(recipe: str, revision: str, size: int, width: int) -> Predictions:
    """The predictions of a revision: the newest `size`, and the newest full window, which is full once."""
    count, newest = 0, list[dict[str, Any]]()
    columns = ["at", "process", "number", "output", "statistics", "revision", "origin"]
    for part in table.select(predictions.predictions(recipe), columns, predictions.of_callers(revision)):
        own = part.filter(pc.equal(pc.list_value_length(part["output"]), width))  # the recipe may have another task now
        count += own.num_rows
        if own.num_rows > 2 * size:
            own = own.sort_by(_ORDER).slice(own.num_rows - 2 * size)
        newest = sorted([*newest, *own.to_pylist()], key=_place)[-2 * size :]
    last = newest[-size:]
    start = len(newest) - size - count % size
    window = _window(newest[start : start + size], width) if count >= size else None
    return Predictions(count, _times(last), _outputs(last, width), window)


_ORDER = [("at", "ascending"), ("process", "ascending"), ("number", "ascending")]


def _place(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["at"], row["process"], row["number"]


def _window(rows: Sequence[Mapping[str, Any]], width: int) -> Window:
    measured = [json.loads(row["statistics"]) for row in rows]
    return Window(rows[0]["at"].timestamp(), rows[-1]["at"].timestamp(), _outputs(rows, width), measured)


def labelled(recipe: str, revision: str, width: int) -> Labelled:
    """The predictions of a revision with the newest label of each."""
    every = _newest(recipe, table.read(outcomes.path(recipe), where=("revision", revision)))
    kept = [row for row in every if len(row["output"]) == width][-_MOST:]
    if not kept:
        return Labelled(np.empty(0), np.empty(0), np.empty((0, width), np.float32))
    return Labelled(
        np.array([row["predicted_at"].timestamp() for row in kept]),
        np.array([row["loss"] for row in kept]),
        np.array([row["output"] for row in kept], np.float32),
    )


def labelled_inputs(recipe: Recipe, revision: str, since: float, most: int) -> tuple[np.ndarray, list[Any]] | None:
    """The newest inputs [N, ...] that a revision answered from then on, if they are kept and labelled, with the labels.

    Without those that the recipe's contract or task no longer has. None if there are none.
    """
    if not recipe.log.inputs:
        return None
    every = _newest(recipe.name, table.read(outcomes.path(recipe.name), where=("revision", revision)))
    recent = [row for row in every if row["predicted_at"].timestamp() >= since][-most:]
    labels = {(row["request"], row["row"]): row["label"] for row in recent}
    inputs, values = [], []
    for (request, row), packed in learning.inputs_of(recipe, set(labels)) if labels else ():
        with suppress(Refusal):
            value = recipe.answers.read_label(labels[request, row])
            inputs.append(recipe.contract.unpack(packed, 1, request))
            values.append(value)
    return (np.concatenate(inputs), values) if inputs else None


def kept_inputs(recipe: Recipe, revision: str, since: float, until: float, most: int) -> np.ndarray | None:
    """Inputs [N, ...] that a revision answered in a time, if the recipe keeps them; None if there are none.

    Some of them, evenly, and without those that the recipe's contract no longer has.
    """
    if not recipe.log.inputs:
        return None
    first, last = (pa.scalar(datetime.fromtimestamp(at, UTC), pa.timestamp("us", tz="UTC")) for at in (since, until))
    mine = predictions.of_callers(revision) & (pc.field("at") >= first) & (pc.field("at") <= last)
    kept = list[bytes]()
    for part in table.select(predictions.predictions(recipe.name), ["at", "input", "revision", "origin"], mine):
        kept += [packed for packed in part["input"].to_pylist() if packed is not None]
    inputs = []
    for packed in kept[:: max(1, len(kept) // most)][:most]:
        with suppress(Refusal):
            inputs.append(recipe.contract.unpack(packed, 1, revision))
    return np.concatenate(inputs) if inputs else None


def unlabelled(recipe: str, revision: str, most: int) -> list[dict[str, Any]]:
    """The newest predictions of a revision that callers got and nobody has labelled.

    Of a request whose id came again only the first answer, which a label is for.
    """
    known = table.read(outcomes.path(recipe), ["request", "row"])
    labelled = {(row["request"], row["row"]) for row in (known.to_pylist() if known is not None else ())}
    newest: list[dict[str, Any]] = []
    columns = ["request", "row", "at", "output", "statistics", "revision", "origin"]
    for part in table.select(predictions.predictions(recipe), columns, predictions.of_callers(revision)):
        newest += part.to_pylist()
        newest = sorted(newest, key=lambda row: row["at"])[-most:]
    first = {(row["request"], row["row"]): row for row in reversed(newest)}
    return [row for key, row in reversed(first.items()) if key not in labelled]


def newest_outcomes(recipe: str) -> list[dict[str, Any]]:
    """The outcomes of a recipe with the newest label of each prediction, in the order of `Labelled`."""
    return _newest(recipe, table.read(outcomes.path(recipe)))


def _newest(recipe: str, rows: pa.Table | None) -> list[dict[str, Any]]:
    """The outcomes with the newest label of each prediction, in the order of `Labelled`.

    Without those that `ratchet unsure` requested, which are worse than others by design.
    """
    requested = predictions.requested(recipe)
    newest: dict[outcomes.Key, dict[str, Any]] = {}
    for row in sorted(rows.to_pylist() if rows else (), key=_joined):
        newest.pop((row["request"], row["row"]), None)
        newest[row["request"], row["row"]] = row
    return [row for key, row in newest.items() if key not in requested]


def _joined(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """The place of an outcome; the rows of a batch, which may be sorted as well, come in an order of their own."""
    key = f"{row['request']}#{row['row']}"
    return row["turn"], row["predicted_at"], zlib.crc32(key.encode()), key, row["correction"]


@dataclass(frozen=True)
class Traffic:
    """What callers sent to a recipe in the newest day that is logged."""

    rate: float
    """Answers a second in its busiest hour; each row of a batch is one."""
    label_seconds: float | None
    """Time within which 95 % of the labels of a week came back; None if none did."""
    labelled: float
    """The share of the answers that got a label in that time. Of a batch only the first row ends a release."""


def traffic(recipe: Recipe) -> Traffic | None:
    """None if nothing is logged."""
    path, callers = predictions.predictions(recipe.name), pc.field("origin") == "caller"
    newest = max((pc.max(part["at"]).as_py() for part in table.select(path, ["at", "origin"], callers) if len(part)),
                 default=None)  # fmt: skip
    if newest is None:
        return None
    of_the_day = callers & (pc.field("at") >= newest - timedelta(seconds=_DAY))
    recent = pa.concat_tables(table.select(path, ["at", "row", "request", "origin"], of_the_day))
    at = _seconds(recent["at"])
    rate = _busiest(at) / max(recipe.log.sample, 1e-9)
    labels = _first_labels(recipe.name, newest - timedelta(seconds=_WEEK))
    if not len(labels):
        return Traffic(rate, None, 0.0)
    delays = _seconds(labels["labelled_at"]) - _seconds(labels["predicted_at"])
    label_seconds = max(0.0, float(np.quantile(delays, _SLOWEST)))
    in_time = pc.is_in(recent["request"], labels["request"].filter(pa.array(delays <= label_seconds))).to_numpy()
    is_due = at <= newest.timestamp() - label_seconds
    counts = in_time & (recent["row"].to_numpy() == 0)
    return Traffic(rate, label_seconds, float(counts[is_due].mean()) if is_due.any() else 0.0)


def _busiest(at: np.ndarray) -> float:
    """Answers a second in the hour that has the most of them; of less than an hour, in all of it."""
    since = at - at.min()
    hours = np.bincount((since // _HOUR).astype(int))
    return float(hours.max()) / min(max(float(since.max()), _MINUTE), _HOUR)


def _first_labels(recipe: str, since: datetime) -> pa.Table:
    """The first label of the first row of each request since then."""
    wanted = (pc.field("predicted_at") >= since) & (pc.field("row") == 0) & (pc.field("correction") == 0)
    columns = ["request", "row", "predicted_at", "labelled_at", "correction"]
    parts = list(table.select(outcomes.path(recipe), columns, wanted))
    return pa.concat_tables(parts) if parts else pa.table({"request": []})


def _seconds(times: pa.ChunkedArray) -> np.ndarray:
    """Since 1970."""
    seconds: np.ndarray = times.cast(pa.int64()).to_numpy() / 1e6
    return seconds


def performance(recipe: str) -> list[dict[str, Any]]:
    """The mean loss by labels, for each day of predictions and each revision, with its interval of 95 %."""
    by_day: dict[tuple[str, str], list[float]] = {}
    for row in newest_outcomes(recipe):
        by_day.setdefault((f"{row['predicted_at']:%Y-%m-%d}", row["revision"]), []).append(row["loss"])
    return [_summary(day, revision, np.array(losses)) for (day, revision), losses in sorted(by_day.items())]


def _summary(day: str, revision: str, losses: np.ndarray) -> dict[str, Any]:
    scale = max(1.0, float(losses.max()))  # of errors in a unit
    low, high = (scale * bound for bound in proportion.of_mean(losses / scale))
    mean = float(losses.mean())
    return {"day": day, "revision": revision, "labels": len(losses), "loss": mean, "low": low, "high": high}


def _times(rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
    return np.array([row["at"].timestamp() for row in rows])


def _outputs(rows: Sequence[Mapping[str, Any]], width: int) -> np.ndarray:
    return np.array([row["output"] for row in rows], np.float32).reshape(-1, width)
