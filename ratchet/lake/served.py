"""What a revision answered to callers, as the lake has it: for watching it, in the order of time."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ratchet.evaluation import proportion
from ratchet.lake import outcomes, predictions, table


@dataclass(frozen=True)
class Predictions:
    """Predictions [N] that callers got, oldest first."""

    at: np.ndarray
    """Seconds since 1970."""
    outputs: np.ndarray
    """[N, width]."""
    measured: Sequence[Mapping[str, Any]]
    """What was measured of the inputs of the newest full window; empty before there is one."""


@dataclass(frozen=True)
class Labelled:
    """Predictions [M] whose newest label is known, in the order in which the labels came."""

    at: np.ndarray
    """When they were made, in seconds since 1970."""
    losses: np.ndarray
    outputs: np.ndarray


def of_revision(recipe: str, revision: str, window: int, width: int) -> Predictions:
    """The predictions of a revision; each window of so many is full once."""
    path = predictions.predictions(recipe)
    mine = (pc.field("revision") == revision) & (pc.field("origin") == "caller")
    times, outputs = [np.empty(0)], [np.empty((0, width), np.float32)]
    rows = table.rows(path, ["at", "output", "revision", "origin"])
    for part in rows.parts() if rows else ():
        own = pa.Table.from_batches([part]).filter(mine)
        times.append(_seconds(own["at"]))
        outputs.append(_outputs(own["output"], width))
    order = np.argsort(at := np.concatenate(times), kind="stable")
    at, full = at[order], len(at) // window * window
    bounds = (at[full - window], at[full - 1]) if full else None
    measured = _measured(recipe, mine, bounds)[-window:] if bounds else []
    return Predictions(at, np.concatenate(outputs)[order], measured)


def _measured(recipe: str, mine: pc.Expression, bounds: tuple[float, float]) -> list[Mapping[str, Any]]:
    """What was measured of the inputs between two times, oldest first."""
    low, high = (pa.scalar(int(seconds * 1e6), pa.timestamp("us", tz="UTC")) for seconds in bounds)
    chosen = mine & (pc.field("at") >= low) & (pc.field("at") <= high)
    rows = table.rows(predictions.predictions(recipe), ["at", "statistics", "revision", "origin"])
    texts: list[tuple[datetime, str]] = []
    for part in rows.parts() if rows else ():
        own = pa.Table.from_batches([part]).filter(chosen)
        texts += zip(own["at"].to_pylist(), own["statistics"].to_pylist(), strict=True)
    return [json.loads(text) for _, text in sorted(texts, key=lambda each: each[0])]


def labelled(recipe: str, revision: str, width: int) -> Labelled:
    """The predictions of a revision with the newest label of each."""
    kept = _newest(table.read(outcomes.path(recipe), where=("revision", revision)))
    if not kept:
        return Labelled(np.empty(0), np.empty(0), np.empty((0, width), np.float32))
    return Labelled(
        np.array([row["predicted_at"].timestamp() for row in kept]),
        np.array([row["loss"] for row in kept]),
        np.array([row["output"] for row in kept], np.float32),
    )


def unlabelled(recipe: str, revision: str, most: int) -> list[dict[str, Any]]:
    """The newest predictions of a revision that callers got and nobody has labelled."""
    known = table.read(outcomes.path(recipe), ["request", "row"])
    labelled = {(row["request"], row["row"]) for row in (known.to_pylist() if known is not None else ())}
    mine = (pc.field("revision") == revision) & (pc.field("origin") == "caller")
    newest: list[dict[str, Any]] = []
    rows = table.rows(
        predictions.predictions(recipe), ["request", "row", "at", "output", "statistics", "revision", "origin"]
    )
    for part in rows.parts() if rows else ():
        newest += pa.Table.from_batches([part]).filter(mine).to_pylist()
        newest = sorted(newest, key=lambda row: row["at"])[-most:]
    return [row for row in newest if (row["request"], row["row"]) not in labelled]


def _newest(rows: pa.Table | None) -> list[dict[str, Any]]:
    """The outcomes with the newest label of each prediction, in the order in which these labels came."""
    newest: dict[outcomes.Key, dict[str, Any]] = {}
    ordered = rows.sort_by([("labelled_at", "ascending"), ("correction", "ascending")]).to_pylist() if rows else []
    for row in ordered:
        newest.pop((row["request"], row["row"]), None)
        newest[row["request"], row["row"]] = row
    return list(newest.values())


def performance(recipe: str) -> list[dict[str, Any]]:
    """The mean loss by labels, for each day of predictions and each revision, with its interval of 95 %."""
    by_day: dict[tuple[str, str], list[float]] = {}
    for row in _newest(table.read(outcomes.path(recipe))):
        by_day.setdefault((f"{row['predicted_at']:%Y-%m-%d}", row["revision"]), []).append(row["loss"])
    return [_summary(day, revision, np.array(losses)) for (day, revision), losses in sorted(by_day.items())]


def _summary(day: str, revision: str, losses: np.ndarray) -> dict[str, Any]:
    scale = max(1.0, float(losses.max()))  # of errors in a unit
    low, high = (scale * bound for bound in proportion.of_mean(losses / scale))
    mean = float(losses.mean())
    return {"day": day, "revision": revision, "labels": len(losses), "loss": mean, "low": low, "high": high}


def _seconds(column: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(column.cast(pa.int64()).to_numpy(), float) / 1e6


def _outputs(column: pa.ChunkedArray, width: int) -> np.ndarray:
    flat = pc.list_flatten(column).to_numpy()
    return np.asarray(flat, np.float32).reshape(-1, width)
