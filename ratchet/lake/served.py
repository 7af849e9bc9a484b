"""What a revision answered to callers, as the lake has it: for watching it, in the order of time."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

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
    rows = table.read(outcomes.path(recipe), where=("revision", revision))
    if rows is None or not rows.num_rows:
        return Labelled(np.empty(0), np.empty(0), np.empty((0, width), np.float32))
    newest: dict[outcomes.Key, dict[str, Any]] = {}
    for row in rows.sort_by([("labelled_at", "ascending"), ("correction", "ascending")]).to_pylist():
        newest.pop((row["request"], row["row"]), None)
        newest[row["request"], row["row"]] = row
    kept = list(newest.values())
    return Labelled(
        np.array([row["predicted_at"].timestamp() for row in kept]),
        np.array([row["loss"] for row in kept]),
        np.array([row["output"] for row in kept], np.float32),
    )


def _seconds(column: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(column.cast(pa.int64()).to_numpy(), float) / 1e6


def _outputs(column: pa.ChunkedArray, width: int) -> np.ndarray:
    flat = pc.list_flatten(column).to_numpy()
    return np.asarray(flat, np.float32).reshape(-1, width)
