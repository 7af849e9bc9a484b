"""A snapshot: one version of the admitted records, with a fingerprint of its own; and its arrays by side."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from ratchet.errors import Refusal
from ratchet.lake import table
from ratchet.lake.ingest import benchmark, fingerprint, lake
from ratchet.lake.split import SIDES, Side, in_time, side
from ratchet.lake.windows import windows
from ratchet.recipe import Recipe
from ratchet.series import SeriesContract
from ratchet.words import Snapshot


@dataclass(frozen=True)
class Split:
    """Inputs [N, ...] as the contract has them, and targets: labels [N], or values [N, horizon].

    In the order of their digests; windows of a series in that of time.
    """

    inputs: np.ndarray
    targets: np.ndarray
    records: tuple[str, ...] = ()
    """Digests [N] of the benchmark's records, where they are no windows."""
    groups: np.ndarray | None = None
    """Names [N] of the groups of people that those belong to, empty for none; None where no record names one."""

    def __len__(self) -> int:
        return len(self.targets)

    def by_class(self, count: int) -> list[np.ndarray]:
        """The inputs of each of so many classes; all in one where there are none."""
        return [self.inputs[self.targets == number] for number in range(count)] if count else [self.inputs]


def take(recipe: Recipe) -> Snapshot:
    """The newest version of the admitted records. Raises Refusal when there are none."""
    path = lake(recipe.name) / "records"
    version = table.version(path)
    rows = table.read(path, ["record", "label", "batch"], version=version) if version >= 0 else None
    if rows is None or not rows.num_rows:
        raise Refusal("no batch is admitted yet", recipe.name, f"Ingest one: `ratchet ingest {recipe.name} --next`")
    labels = Counter(recipe.classes[i] for i in rows["label"].to_pylist() if i is not None)
    return Snapshot(
        recipe=recipe.name, version=version, fingerprint=fingerprint(rows["record"].to_pylist()), records=rows.num_rows,
        batches=tuple(sorted(set(rows["batch"].to_pylist()))), labels=dict(sorted(labels.items())),
    )  # fmt: skip


def load(recipe: Recipe, snapshot: Snapshot) -> dict[Side, Split]:
    """The snapshot's arrays by side. Raises Refusal when the table no longer gives the same fingerprint."""
    columns = ["record", "input", recipe.contract.column, "label", "captured_at"]
    rows = table.read(lake(recipe.name) / "records", columns, version=snapshot.version)
    if rows is None or fingerprint(rows["record"].to_pylist()) != snapshot.fingerprint:
        raise Refusal("the records are not those of the snapshot", snapshot.fingerprint[:16], "Take a new snapshot")
    if isinstance(recipe.contract, SeriesContract):
        return {s: Split(*windows(recipe.contract, part)) for s, part in in_time(recipe.contract, rows).items()}
    rows = rows.sort_by([("record", "ascending")])
    sides = np.array([side(i) for i in rows["input"].to_pylist()])
    whole = _arrays(recipe, rows)
    return {s: Split(whole.inputs[sides == s], whole.targets[sides == s]) for s in SIDES}


def benchmarked(recipe: Recipe) -> tuple[Split, str]:
    """The benchmark set and its fingerprint. Raises Refusal where there is nothing in it to ask."""
    rows = benchmark(recipe)
    found = _arrays(recipe, rows)
    if recipe.classes:
        groups = np.array([group or "" for group in rows["group"].to_pylist()])
        found = replace(found, records=tuple(rows["record"].to_pylist()), groups=groups if groups.any() else None)
    if not len(found):
        raise Refusal(f"{rows.num_rows} records make no benchmark", recipe.name, "Give it more, and without gaps")
    return found, fingerprint(rows["record"].to_pylist())


def _arrays(recipe: Recipe, rows: pa.Table) -> Split:
    contract = recipe.contract
    if isinstance(contract, SeriesContract):
        return Split(*windows(contract, rows))
    cells, labels = rows[contract.column].to_pylist(), rows["label"].to_numpy()
    if contract.kind == "text":
        made = np.empty(len(cells), object)
        made[:] = cells
        return Split(made, labels)
    return Split(contract.unpack(b"".join(cells), len(cells)), labels)
