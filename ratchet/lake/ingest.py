"""Lands one batch, exactly once: every record ends in the landing table or in quarantine."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ratchet.contract import Contract, record_digest
from ratchet.errors import Refusal
from ratchet.files import locked, sha256, sha256_of_folder
from ratchet.lake import fetch, quarantine, sources, table
from ratchet.recipe import Feed, Recipe
from ratchet.settings import settings
from ratchet.words import Batch

_CELLS = {"image": pa.binary(), "text": pa.string(), "value": pa.float64()}


def schema(contract: Contract) -> pa.Schema:
    """Of the records: `record` is the digest of input and label, `input` that of the input alone.

    `group` is of people, for fairness, where the source names one.
    """
    return pa.schema(
        [
            ("record", pa.string()),
            ("input", pa.string()),
            (contract.column, _CELLS[contract.column]),
            ("label", pa.int32()),
            ("captured_at", pa.timestamp("us", tz="UTC")),
            ("batch", pa.string()),
            ("group", pa.string()),
        ]
    )


def lake(recipe: str) -> Path:
    return settings().home / "lake" / recipe


def land(recipe: Recipe, path: Path, who: str) -> Batch:
    """Lands a file or folder as one batch; the same content again adds nothing.

    Raises Refusal when the source as a whole is no good; it is then kept in quarantine.
    """
    if not path.exists():
        raise Refusal("there is no such file or folder", path, "Give the path of one")
    if not path.is_file() and not path.is_dir():
        raise Refusal("it is neither a file nor a folder", path, "Give one that can be read as often as needed")
    try:
        _bounded(path)
    except Refusal as refusal:
        batch = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]
        quarantine.keep_file(lake(recipe.name), batch, path, refusal.what, who, limit=0)
        raise _kept_as(batch, refusal) from None
    return _land(recipe, _content_id(path), path, None, Feed(""), who)


def feed_id(recipe: Recipe, feed: Feed) -> str:
    digests = [recipe.data.files[name] for name in (feed.inputs, feed.labels) if name]
    part = f"{feed.start}:{feed.stop}" + (f":{feed.every}" if feed.every else "")
    if recipe.data.prepare:  # what is made of the file is the recipe's
        digests.append(f"version {recipe.version}")
    return hashlib.sha256("|".join([*digests, part]).encode()).hexdigest()[:16]


def land_feed(recipe: Recipe, feed: Feed, who: str) -> Batch:
    """Lands one of the recipe's own batches."""
    id = feed_id(recipe, feed)
    if known := landed(recipe, id):
        return known
    return _land(recipe, id, *fetch.feed(recipe, feed), feed, who)


def landed(recipe: Recipe, id: str) -> Batch | None:
    """The batch as it was landed before, or None."""
    if not table.turn_of(lake(recipe.name) / "landing", f"land:{id}"):
        return None
    for commit in table.history(lake(recipe.name) / "landing"):
        if commit.get("ratchet") == f"land:{id}":
            return Batch(
                id, recipe.name, commit["source"], int(commit["accepted"]), int(commit["quarantined"]), new=False
            )
    return Batch(id, recipe.name, "", 0, 0, new=False)


def benchmark(recipe: Recipe) -> pa.Table:
    """The records of the benchmark set. Never trained on. Up to one in a hundred that cannot be read is left out.

    Raises Refusal where there are more of those.
    """
    import pyarrow.parquet as pq

    meant = json.dumps([recipe.contract.to_json(), recipe.classes]).encode()  # a class is kept by its number
    if recipe.groups:
        meant += json.dumps(recipe.groups).encode()
    of = f"{feed_id(recipe, recipe.benchmark)}-{hashlib.sha256(meant).hexdigest()[:8]}"
    kept = lake(recipe.name) / f"benchmark-{of}.parquet"
    with locked(lake(recipe.name) / ".benchmark.lock"):
        if not kept.exists():
            feed = recipe.benchmark
            inputs, labels = fetch.feed(recipe, feed)
            with _scratch() as scratch:
                rows = sources.read(inputs, recipe.contract, _limits(), scratch, labels, feed)
                good, bad = _sort(rows, recipe, "benchmark", frozenset())
            if bad.num_rows > rows.num_rows // 100:
                what = f"{bad.num_rows} of {rows.num_rows} records of the benchmark are refused"
                raise Refusal(f"{what} ({bad['reason'][0].as_py()})", inputs, "Mend the data, or the recipe")
            part = kept.with_name(f".{kept.name}")
            pq.write_table(good, part)
            part.replace(kept)
    found = pq.read_table(kept)
    # A file from before there were groups has no such column, and is asked for none.
    return found if "group" in found.column_names else found.append_column("group", pa.nulls(len(found), pa.string()))


def fingerprint(records: list[str]) -> str:
    """SHA-256 over every record's digest, in sorted order: the same records are the same data."""
    return hashlib.sha256("\n".join(sorted(records)).encode()).hexdigest()


def _limits() -> sources.Limits:
    return sources.Limits(memory=settings().ingest_memory_mb << 20, disk=settings().ingest_disk_mb << 20)


@contextmanager
def _scratch() -> Iterator[Path]:
    home = settings().home / "tmp"
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home) as folder:
        yield Path(folder)


def _content_id(path: Path) -> str:
    """Of the bytes: the same file under another name is the same batch."""
    if path.is_dir():
        return sha256_of_folder(path)[:16]
    return hashlib.sha256(bytes.fromhex(sha256(path))).hexdigest()[:16]


def _land(recipe: Recipe, id: str, inputs: Path, labels: Path | None, feed: Feed, who: str) -> Batch:
    if known := landed(recipe, id):
        return known
    home, held = lake(recipe.name), frozenset(benchmark(recipe)["input"].to_pylist())
    source = f"{inputs}[{feed.start}:{feed.stop}]" if feed.stop else str(inputs)
    try:
        with _scratch() as scratch:
            rows = sources.read(inputs, recipe.contract, _limits(), scratch, labels, feed)
            good, bad = _sort(rows, recipe, id, held)
    except Refusal as refusal:
        quarantine.keep_file(home, id, inputs, refusal.what, who, limit=_limits().disk)
        raise _kept_as(id, refusal) from None
    # Quarantine first: killed in between, the next try finds it done and lands the rest.
    quarantine.keep_records(home, id, bad, who)
    new = table.append(
        home / "landing", good, once=f"land:{id}",
        who=who, source=source, accepted=str(good.num_rows), quarantined=str(bad.num_rows),
    )  # fmt: skip
    return Batch(id, recipe.name, source, good.num_rows, bad.num_rows, new=new)


def _kept_as(batch: str, refusal: Refusal) -> Refusal:
    return Refusal(refusal.what, refusal.which, f"{refusal.next}. It stands in quarantine as batch {batch}")


def _bounded(path: Path) -> None:
    limit = settings().ingest_disk_mb << 20
    size = sum(p.stat().st_size for p in path.rglob("*") if p.is_file()) if path.is_dir() else path.stat().st_size
    if size > limit:
        raise Refusal(f"it has {size >> 20} MB, over {limit >> 20}", path, "Split it, or raise RATCHET_INGEST_DISK_MB")


def _sort(rows: pa.Table, recipe: Recipe, batch: str, benchmark: frozenset[str]) -> tuple[pa.Table, pa.Table]:
    """The rows as records, and the rows that are refused with their reasons; a few thousand at a time."""
    known = {str(i): i for i in range(len(recipe.classes))} | {name: i for i, name in enumerate(recipe.classes)}
    now = datetime.now(UTC)
    kind = schema(recipe.contract)
    good, bad = [kind.empty_table()], [sources.ROWS.empty_table()]
    for part in rows.to_batches(max_chunksize=4096):
        landed, refused = [], []
        for row in part.to_pylist():
            digest, reason = _digest(row, recipe, known, benchmark)
            if reason:
                # Where columns are swapped, a label is somebody's text.
                label = str(row["label"])[:40] if recipe.show_inputs or row["label"] in known else "not shown"
                refused.append({**row, "reason": reason, "label": label, "payload": row["payload"] or row["data"]})
                continue
            cell, number = _cell(recipe.contract, row["data"]), known.get(row["label"])
            landed.append({
                "record": record_digest(digest, str(cell if number is None else number)), "input": digest,
                recipe.contract.column: cell, "label": number, "captured_at": row["captured_at"] or now, "batch": batch,
                "group": row["group"] if recipe.groups else None,
            })  # fmt: skip
        good.append(pa.Table.from_pylist(landed, schema=kind))
        bad.append(pa.Table.from_pylist(refused, schema=sources.ROWS))
    return pa.concat_tables(good), pa.concat_tables(bad)


def _digest(
    row: dict[str, Any], recipe: Recipe, known: Mapping[str, int], benchmark: frozenset[str]
) -> tuple[str, str]:
    """The input's digest, or the reason why the record is refused."""
    if row["reason"]:
        return "", row["reason"]
    if recipe.classes and row["label"] not in known:
        told = f" {str(row['label'])[:40]!r}" if recipe.show_inputs else ""
        return "", f"the label{told} is none of the {len(recipe.classes)} classes"
    if recipe.groups and row["group"] not in (None, *recipe.groups):
        told = f" {str(row['group'])[:40]!r}" if recipe.show_inputs else ""
        return "", f"the group{told} is none of {', '.join(recipe.groups)[:200]}"
    try:
        digest = recipe.contract.digest(row["data"], row["captured_at"])
    except Refusal as refusal:
        return "", refusal.what
    if digest in benchmark:
        return "", f"the {recipe.contract.column} is in the benchmark set, which is never trained on"
    return digest, ""


def _cell(contract: Contract, data: bytes) -> bytes | str | float:
    """What the contract holds of an input, as the lake's column takes it."""
    match contract.column:
        case "text":
            return data.decode()
        case "value":
            return float(np.frombuffer(data, np.float64)[0])
    return data
