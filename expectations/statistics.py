"""The table of statistics that a suite checks: one row per record, with its input's properties, label and age."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ratchet.lake import table
from ratchet.recipe import Recipe
from ratchet.series import SeriesContract
from ratchet.texts import tokens

if TYPE_CHECKING:
    import pandas as pd

_OWN = {
    "image": ("height", "width", "minimum", "maximum", "mean", "deviation"),
    "text": ("characters", "words", "unprintable"),
    "series": ("value", "steps_after"),
}


def columns(recipe: Recipe) -> tuple[str, ...]:
    """The columns of the table for this kind of input."""
    labelled = ("label", "class_share") if recipe.classes else ()
    return ("record", *labelled, *_OWN[recipe.contract.kind], "duplicate", "age_days")


def of_batch(recipe: Recipe, home: Path, batch: str, where: str = "landing") -> pd.DataFrame:
    """The statistics of every record of the batch in the table `where`, `landing` or `records`.

    `duplicate` is 1 if the same input is earlier in the batch, or among the admitted records.
    """
    import pandas as pd

    rows = table.read(home / where, where=("batch", batch))
    records = rows.to_pylist() if rows is not None else []
    admitted = table.read(home / "records", ["input"])
    seen = Counter(admitted["input"].to_pylist() if admitted is not None else ())
    duplicate = []
    for record in records:
        duplicate.append(int(seen[record["input"]] > 0))
        seen[record["input"]] += 1
    now, sizes = datetime.now(UTC), Counter(r["label"] for r in records)
    own = {"image": _images, "text": _texts, "series": _values}[recipe.contract.kind](recipe, records)
    return pd.DataFrame({
        "record": [r["record"] for r in records], "label": [r["label"] for r in records],
        "class_share": [sizes[r["label"]] / len(records) for r in records], **own, "duplicate": duplicate,
        "age_days": [(now - r["captured_at"]).total_seconds() / 86400 for r in records],
    }, columns=list(columns(recipe)))  # fmt: skip


def _images(recipe: Recipe, records: list[dict[str, Any]]) -> dict[str, Any]:
    height, width = recipe.contract.shape
    whole = b"".join(r["image"] for r in records)
    pixels = np.frombuffer(whole, np.uint8).astype(np.float64).reshape(len(records), height * width)
    if not records:
        return {column: [] for column in _OWN["image"]}
    sizes = {"height": [len(r["image"]) // width for r in records], "width": [width] * len(records)}
    extremes = {"minimum": pixels.min(axis=1), "maximum": pixels.max(axis=1)}
    return {**sizes, **extremes, "mean": pixels.mean(axis=1), "deviation": pixels.std(axis=1)}


def _texts(recipe: Recipe, records: list[dict[str, Any]]) -> dict[str, Any]:
    texts = [r["text"] for r in records]
    return {
        "characters": [len(t) for t in texts],
        "words": [len(tokens(t)) for t in texts],
        "unprintable": [sum(not (c.isprintable() or c.isspace()) for c in t) / len(t) for t in texts],
    }


def _values(recipe: Recipe, records: list[dict[str, Any]]) -> dict[str, Any]:
    """`steps_after` is the number of steps since the value before it in time; it is 1 for the first of a batch."""
    assert isinstance(recipe.contract, SeriesContract)
    seconds = np.array([r["captured_at"].timestamp() for r in records])
    order = np.argsort(seconds, kind="stable")
    steps = np.ones(len(records))
    steps[order[1:]] = np.diff(seconds[order]) / recipe.contract.step
    return {"value": [r["value"] for r in records], "steps_after": steps}
