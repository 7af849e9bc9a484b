"""A snapshot: one version of the admitted records, with a fingerprint of its own."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from ratchet.errors import Refusal
from ratchet.lake import table
from ratchet.lake.ingest import fingerprint, lake
from ratchet.lake.split import Side, side
from ratchet.recipe import Recipe
from ratchet.words import Snapshot


@dataclass(frozen=True)
class Split:
    """images [N, height, width], labels [N], in the order of their digests."""

    images: np.ndarray
    labels: np.ndarray


def take(recipe: Recipe) -> Snapshot:
    """The newest version of the admitted records. Raises Refusal when there are none."""
    path = lake(recipe.name) / "records"
    version = table.version(path)
    rows = table.read(path, ["record", "label", "batch"], version=version) if version >= 0 else None
    if rows is None or not rows.num_rows:
        raise Refusal("no batch is admitted yet", recipe.name, f"Ingest one: `ratchet ingest {recipe.name} --next`")
    labels = Counter(recipe.classes[i] for i in rows["label"].to_pylist())
    return Snapshot(
        recipe=recipe.name, version=version, fingerprint=fingerprint(rows["record"].to_pylist()), records=rows.num_rows,
        batches=tuple(sorted(set(rows["batch"].to_pylist()))), labels=dict(sorted(labels.items())),
    )  # fmt: skip


def load(recipe: Recipe, snapshot: Snapshot) -> dict[Side, Split]:
    """The snapshot's arrays by side. Raises Refusal when the table no longer gives the same fingerprint."""
    rows = table.read(lake(recipe.name) / "records", ["record", "input", "image", "label"], version=snapshot.version)
    if rows is None or fingerprint(rows["record"].to_pylist()) != snapshot.fingerprint:
        raise Refusal("the records are not those of the snapshot", snapshot.fingerprint[:16], "Take a new snapshot")
    rows = rows.sort_by([("record", "ascending")])
    images = np.frombuffer(b"".join(rows["image"].to_pylist()), recipe.contract.dtype).reshape(
        -1, *recipe.contract.shape
    )
    labels = rows["label"].to_numpy()
    sides = np.array([side(i) for i in rows["input"].to_pylist()])
    return {s: Split(images[sides == s], labels[sides == s]) for s in ("train", "validation", "test")}  # type: ignore[misc]
