"""A snapshot is one version of the admitted records with a fingerprint; here it is taken, and loaded by side."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ratchet.errors import Refusal
from ratchet.kinds import parts as kinds
from ratchet.lake import learning, quarantine, table
from ratchet.lake.ingest import benchmark, fingerprint, lake
from ratchet.lake.split import SIDES, Side, trained_until, window
from ratchet.recipe import Recipe, Training
from ratchet.tasks import parts as tasks
from ratchet.types import Snapshot


@dataclass(frozen=True)
class Examples:
    """Inputs [N, ...] as the contract has them, and targets [N, ...] as the task has them.

    They are in the order of their digests; windows of a series are in the order of time.
    """

    inputs: np.ndarray
    targets: np.ndarray
    records: tuple[str, ...] = ()
    """Digests [N] of the benchmark's records; empty for windows."""
    groups: np.ndarray | None = None
    """Names [N] of the groups of people that the records belong to, or None if no record names one."""
    sample_weights: np.ndarray | None = None
    """How much each of the records [N] counts in training; None if all count alike."""

    def __len__(self) -> int:
        return len(self.targets)


def take(recipe: Recipe) -> Snapshot:
    """The newest version of the admitted records. Raises Refusal if there are none."""
    path = lake(recipe.name) / "records"
    version = table.version(path)
    rows = table.rows(path, ["label", "batch"], version=version) if version >= 0 else None
    labels, batches, task = Counter[str](), set[str](), tasks.labels(recipe.answers.task)
    count = 0
    for part in rows.parts() if rows else ():
        count += part.num_rows
        labels.update(task.counts(recipe.answers, part["label"].to_pylist()))
        batches.update(pc.unique(part["batch"]).to_pylist())
    if not count:
        raise _nothing_admitted(recipe)
    records = table.rows(path, ["record"], version=version)
    assert records, "there are rows"
    digest = fingerprint(part["record"] for part in records.parts())
    return Snapshot(recipe.name, version, digest, count, tuple(sorted(batches)), dict(sorted(labels.items())))


def _nothing_admitted(recipe: Recipe) -> Refusal:
    refused = quarantine.entries(lake(recipe.name))
    if not refused:
        return Refusal("no batch is admitted yet", recipe.name, f"Ingest one: `ratchet ingest {recipe.name} --next`")
    what = f"no batch is admitted, and batch {refused[0].batch} is in quarantine ({refused[0].reason[:200]})"
    correct = "Correct the data or the recipe and ingest it again, with its PATH or --next"
    if refused[0].kind == "batch":
        correct = (
            f"Admit it all the same: `ratchet quarantine admit {recipe.name} {refused[0].batch}`, or ingest others"
        )
    return Refusal(what, recipe.name, f"See `ratchet quarantine list {recipe.name}`. {correct}")


def spans(recipe: Recipe, batches: Iterable[str]) -> dict[str, tuple[float, float]]:
    """From when to when the admitted records of each batch were captured, in seconds since 1970."""
    known: dict[str, tuple[float, float]] = {}
    columns = ["batch", "captured_at"]
    for part in table.select(lake(recipe.name) / "records", columns, table.one_of("batch", batches)):
        grouped = part.group_by("batch").aggregate([("captured_at", "min"), ("captured_at", "max")])
        for row in grouped.to_pylist():
            first, last = row["captured_at_min"].timestamp(), row["captured_at_max"].timestamp()
            before = known.get(row["batch"], (first, last))
            known[row["batch"]] = min(first, before[0]), max(last, before[1])
    return known


def of_newest(recipe: Recipe, batches: Iterable[str], count: int) -> list[str]:
    """The batches that hold the newest `count` of their admitted records."""
    mine, columns = table.one_of("batch", batches), ["batch", "captured_at"]
    parts = list(table.select(lake(recipe.name) / "records", columns, mine))
    if not parts:  # all of them were withdrawn
        return []
    rows = pa.concat_tables(parts)
    newest = pc.sort_indices(rows, [("captured_at", "descending")])[:count]
    return sorted(set(rows["batch"].take(newest).to_pylist()))


def columns(recipe: Recipe) -> list[str]:
    """Those of a record that examples are made of."""
    return ["record", "input", recipe.contract.column, "label", "captured_at", "batch"]


def sample(recipe: Recipe, batches: Iterable[str], most: int) -> np.ndarray:
    """Inputs [N, ...] of admitted records of the batches, the `most` with the smallest digests."""
    kept = None
    for part in table.select(lake(recipe.name) / "records", columns(recipe), table.one_of("batch", batches)):
        kept = part if kept is None else pa.concat_tables([kept, part])
        kept = kept.sort_by("record").slice(0, most)
    assert kept is not None, "there are batches"
    return examples(recipe, kept).inputs


def load(
    recipe: Recipe, snapshot: Snapshot, shown: bool = False, training: Training | None = None
) -> dict[Side, Examples]:
    """The snapshot's examples by side; with `shown` without requests that were served, which appear nowhere.

    The training side is what this `training` sees of it, or all of it. Raises Refusal if the table no longer has the
    same fingerprint.
    """
    rows = table.read(lake(recipe.name) / "records", columns(recipe), version=snapshot.version)
    if rows is None or fingerprint(rows["record"].chunks) != snapshot.fingerprint:
        raise Refusal("the records are not those of the snapshot", snapshot.fingerprint[:16], "Take a new snapshot")
    served = learning.batches(recipe.name) if shown else set()
    rows = rows.filter(~table.one_of("batch", served)) if served else rows
    sides = dict(kinds.records(recipe.contract.kind).sides(recipe.contract, rows))
    if training:
        sides["train"] = window(sides["train"], training.recent, training.replay)
    return {side: examples(recipe, sides[side]) for side in SIDES}


def newest(recipe: Recipe, snapshot: Snapshot, champion: Snapshot) -> Examples:
    """The test side of a snapshot, without what a model of the other snapshot may have been trained on.

    By a digest that is the test side of the batches that came since. By time it is what is newer: older records that
    arrive late, or a batch that is withdrawn, let the test side begin earlier than it did.
    """
    path, kind = lake(recipe.name) / "records", kinds.records(recipe.contract.kind)
    if not kind.is_in_order(recipe.contract):
        new = ~table.one_of("batch", champion.batches)
        since = list(table.select(path, columns(recipe), new, version=snapshot.version))
        assert since, "a version of the table stays readable"
        return examples(recipe, kind.sides(recipe.contract, pa.concat_tables(since))["test"])
    rows = table.read(path, columns(recipe), version=snapshot.version)
    known = table.read(path, ["captured_at"], version=champion.version)
    assert rows is not None, "a version of the table stays readable"
    assert known is not None, "a version of the table stays readable"
    test = kind.sides(recipe.contract, rows)["test"]
    until = trained_until(known["captured_at"])
    return examples(recipe, test.filter(pc.field("captured_at") >= pa.scalar(until, test["captured_at"].type)))


def examples(recipe: Recipe, rows: pa.Table) -> Examples:
    """The examples that records make. Of a series there are fewer: windows whose gaps the contract allows."""
    inputs, labels, weights = kinds.records(recipe.contract.kind).examples(recipe.contract, rows)
    return Examples(inputs, tasks.labels(recipe.answers.task).targets(recipe.answers, labels), sample_weights=weights)


def load_benchmark(recipe: Recipe) -> tuple[Examples, str]:
    """The benchmark set and its fingerprint. Raises Refusal if it yields no example."""
    rows = benchmark(recipe)
    own = examples(recipe, rows)
    if len(own) == rows.num_rows:  # of a series, there are fewer windows than values
        groups = np.array([group or "" for group in rows["group"].to_pylist()])
        digests = tuple(rows["record"].to_pylist())
        own = replace(own, records=digests, groups=groups if groups.any() else None)
    if not len(own):
        what = f"the benchmark's {rows.num_rows} records yield no example"
        raise Refusal(what, recipe.name, "Give more records, without gaps")
    return own, fingerprint(rows["record"].chunks)
