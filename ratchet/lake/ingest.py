"""Lands one batch exactly once: every record ends in the landing table or in quarantine."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ratchet import clock
from ratchet.contract import Contract, record_digest
from ratchet.errors import Refusal
from ratchet.files import locked, sha256, sha256_of_folder
from ratchet.kinds import parts
from ratchet.lake import encoding, fetch, quarantine, sources, table
from ratchet.lake.rows import PART, Spool, digest_bytes
from ratchet.layout import DETECTED, Layout
from ratchet.progress import Report, paced, silent
from ratchet.recipe import Feed, Recipe
from ratchet.scratch import scratch_folder
from ratchet.settings import settings
from ratchet.tasks import parts as tasks
from ratchet.types import Batch


def schema(contract: Contract, task: str) -> pa.Schema:
    """The schema of a record: `record` is the digest of input and label, `input` that of the input alone.

    `group` names a group of people, for fairness, if the source has such a column.
    """
    texts = dict.fromkeys(("record", "input", "batch", "group"), pa.string())
    own = {contract.column: parts.records(contract.kind).TYPE, "label": tasks.labels(task).TYPE}
    return pa.schema({**texts, **own, "captured_at": pa.timestamp("us", tz="UTC")})


def lake(recipe: str) -> Path:
    return settings().home / "lake" / recipe


_WHOLE = Feed("")
_SHOWN, _MANY = 3, 1000
"""Reasons of quarantine that are shown, and that are counted at a time: each record may have one of its own."""
_FEW_REFUSED = 3
"""Records of a benchmark that may always be left out."""


@dataclass(frozen=True)
class _Arrival:
    """What is to land as one batch."""

    id: str
    inputs: Path
    layout: Layout
    source: str
    """The name of it for people."""
    labels: Path | None = None
    feed: Feed = _WHOLE
    meta: Mapping[str, str] = field(default_factory=dict)
    """Kept with the commit."""
    keep: bool = True
    """Whether a source that cannot be read is kept."""
    rows: pa.Table | None = None
    """What was read of it, if it need not be read again."""


def land(recipe: Recipe, path: Path, who: str, report: Report = silent) -> Batch:
    """Lands a file or folder as one batch; the same content again adds nothing.

    Builds the benchmark if the lake has none, which may download it. Raises Refusal if the path does not exist,
    or the source as a whole cannot be used; quarantine then has a row for it, and its bytes if it is one small file.
    """
    if not path.exists():
        raise Refusal("there is no such file or folder", path, "Give the path of one")
    if not path.is_file() and not path.is_dir():
        raise Refusal("it is neither a file nor a folder", path, "Give one that can be read more than once")
    try:
        _check_size(path)
    except Refusal as refusal:
        batch = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]
        quarantine.keep_file(lake(recipe.name), batch, path, refusal.what, who, limit=0)
        raise _quarantined(batch, refusal) from None
    return _land(recipe, _Arrival(_content_id(path), path, recipe.data.layout, str(path)), who, report)


def land_rows(
    recipe: Recipe, path: Path, who: str, layout: Layout, source: str, meta: Mapping[str, str], report: Report
) -> Batch:
    """Lands rows that were written to a file of ours, `source` by name; `meta` is kept with the commit."""
    return _land(recipe, _Arrival(_content_id(path), path, layout, source, meta=meta, keep=False), who, report)


def land_read(recipe: Recipe, id: str, rows: pa.Table, who: str, source: str, meta: Mapping[str, str]) -> Batch:
    """Lands rows as `encoding.ROWS` that were read already; `meta` is kept with the commit."""
    return _land(recipe, _Arrival(id, Path(source), DETECTED, source, meta=meta, keep=False, rows=rows), who, silent)


def feed_id(recipe: Recipe, feed: Feed) -> str:
    parts = [recipe.data.files[name] for name in (feed.inputs, feed.labels) if name]
    if recipe.data.prepare:  # the recipe's code decides which records the file holds
        parts.append(f"version {recipe.version}")
    elif recipe.data.layout != DETECTED:
        parts.append(json.dumps(asdict(recipe.data.layout)))
    parts.append(f"{feed.start}:{feed.stop}" + (f":{feed.every}" if feed.every else ""))
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


def land_feed(recipe: Recipe, feed: Feed, who: str, report: Report = silent) -> Batch:
    """Lands one of the recipe's own batches."""
    id = feed_id(recipe, feed)
    if landed_before := landed(recipe, id):
        return landed_before
    inputs, labels = fetch.fetch_feed(recipe, feed)
    source = f"{inputs}[{feed.start}:{feed.stop}]" if feed.stop else str(inputs)
    return _land(recipe, _Arrival(id, inputs, _layout(recipe), source, labels, feed), who, report)


def is_first_due(recipe: Recipe) -> bool:
    """Whether the recipe's first batch has not landed, and no other was admitted instead."""
    return table.version(lake(recipe.name) / "records") < 0 and not landed(recipe, feed_id(recipe, recipe.batches[0]))


def landed(recipe: Recipe, id: str) -> Batch | None:
    """The batch as it landed before, or None; one of which every record was refused may land again."""
    if not table.turn_of(lake(recipe.name) / "landing", f"land:{id}"):
        return None
    for commit in table.history(lake(recipe.name) / "landing"):
        if commit.get("ratchet") == f"land:{id}":
            accepted, quarantined = int(commit["accepted"]), int(commit["quarantined"])
            if not accepted:
                return None
            return Batch(id, recipe.name, commit["source"], accepted, quarantined, new=False)
    return Batch(id, recipe.name, "", 0, 0, new=False)


def was_refused(recipe: Recipe, id: str) -> bool:
    """Whether the batch was read before, and every record of it was refused."""
    return bool(table.turn_of(lake(recipe.name) / "landing", f"land:{id}")) and landed(recipe, id) is None


def benchmark(recipe: Recipe) -> pa.Table:
    """The records of the benchmark set, which is never trained on; three, or 1 %, that cannot be read are left out.

    Raises Refusal if more of them cannot be read.
    """
    import pyarrow.parquet as pq

    # Of numbers the range decides as well; of classes the names alone, as in 0.1.0.
    answers: Any = recipe.task.to_json() if recipe.task and not recipe.answers.classes else recipe.answers.classes
    meaning = json.dumps([recipe.contract.to_json(), answers, recipe.groups]).encode()
    id = f"{feed_id(recipe, recipe.benchmark)}-{hashlib.sha256(meaning).hexdigest()[:8]}"
    path = lake(recipe.name) / f"benchmark-{id}.parquet"
    with locked(lake(recipe.name) / ".benchmark.lock"):
        if not path.exists():
            inputs, labels = fetch.fetch_feed(recipe, recipe.benchmark)
            with scratch_folder() as folder:
                rows = sources.read(
                    inputs, recipe.contract, sources.limits(), folder, labels, recipe.benchmark, _layout(recipe)
                )
                accepted, refused = _collected(accepted_or_refused(rows, recipe, "benchmark", frozenset()))
            if refused.num_rows > max(_FEW_REFUSED, rows.num_rows // 100):
                what = f"{refused.num_rows} of {rows.num_rows} records of the benchmark are refused"
                named = zip(refused["name"].to_pylist()[:5], refused["reason"].to_pylist(), strict=False)
                listed = "; ".join(f"{name}: {reason}" for name, reason in named)
                raise Refusal(f"{what} ({listed})", inputs, "Correct or remove these, or correct the recipe")
            part = path.with_name(f".{path.name}")
            pq.write_table(accepted, part)
            part.replace(path)
    return pq.read_table(path)


@dataclass(frozen=True)
class Reading:
    """What would land of a batch, and how many records would be refused for each reason."""

    accepted: pa.Table
    reasons: Mapping[str, int]


def read_only(recipe: Recipe, feed: Feed, benchmark_rows: pa.Table) -> Reading:
    """Reads a batch of the recipe's own without landing it. Raises Refusal like `land_feed`."""
    inputs, labels = fetch.fetch_feed(recipe, feed)
    with scratch_folder() as folder:
        rows = sources.read(inputs, recipe.contract, sources.limits(), folder, labels, feed, _layout(recipe))
        tasks.labels(recipe.answers.task).check(recipe.answers, _distinct(rows))
        in_benchmark = frozenset(benchmark_rows["input"].to_pylist())
        accepted, refused = _collected(accepted_or_refused(rows, recipe, "preview", in_benchmark))
    return Reading(accepted, dict(Counter(refused["reason"].to_pylist()).most_common(5)))


def _distinct(rows: pa.Table) -> set[str]:
    return set(pc.unique(rows["label"]).drop_null().to_pylist())


def fingerprint(records: Iterable[pa.Array]) -> str:
    """SHA-256 over every record's digest in sorted order: the same records are the same data."""
    ordered = np.sort(digest_bytes(records))
    digest = hashlib.sha256()
    for start in range(0, len(ordered), PART):
        text = ordered[start : start + PART].tobytes().hex()
        lines = "\n".join(text[at : at + 64] for at in range(0, len(text), 64))
        digest.update(("\n" if start else "").encode() + lines.encode())
    return digest.hexdigest()


def _content_id(path: Path) -> str:
    """Of the bytes: the same file under another name is the same batch."""
    if path.is_dir():
        return sha256_of_folder(path)[:16]
    return hashlib.sha256(bytes.fromhex(sha256(path))).hexdigest()[:16]


def _layout(recipe: Recipe) -> Layout:
    """Of the recipe's own files: what `prepare` makes of them has the usual names."""
    return DETECTED if recipe.data.prepare else recipe.data.layout


def _land(recipe: Recipe, arrival: _Arrival, who: str, report: Report) -> Batch:
    home, id = lake(recipe.name), arrival.id
    path, once = home / "landing", f"land:{id}"
    turn = table.turn_of(path, once) + 1  # read first: of several at the same moment, one lands it
    if landed_before := landed(recipe, id):
        return landed_before
    with (
        scratch_folder() as folder,
        Spool(folder / "accepted.arrow", schema(recipe.contract, recipe.answers.task)) as accepted,
        Spool(folder / "refused.arrow", encoding.ROWS) as refused,
    ):
        try:
            rows = _read(recipe, arrival, folder, report) if arrival.rows is None else arrival.rows
            tasks.labels(recipe.answers.task).check(recipe.answers, _distinct(rows))
        except Refusal as refusal:
            if not arrival.keep:
                raise Refusal(refusal.what, arrival.source, refusal.next) from refusal
            quarantine.keep_file(home, id, arrival.inputs, refusal.what, who, limit=sources.limits().disk)
            raise _quarantined(id, refusal) from None
        in_benchmark = frozenset(benchmark(recipe)["input"].to_pylist())
        report, total, reasons = paced(report), rows.num_rows, Counter[str]()
        for good, bad in accepted_or_refused(rows, recipe, id, in_benchmark):
            accepted.write(good)
            refused.write(bad)
            reasons.update(bad["reason"].to_pylist())
            if len(reasons) > _MANY:
                reasons = Counter(dict(reasons.most_common(_MANY // 2)))
            report(f"{accepted.count + refused.count:,} of {total:,} records are checked")
        notes = {each["values"]: each["counts"] for each in pc.value_counts(rows["note"].drop_null()).to_pylist()}
        facts = sources.facts(rows)
        accepted.close()
        refused.close()
        # Quarantine first: after a kill in between, the next try finds it done and lands the rest.
        quarantine.keep_records(home, id, refused, who, turn)
        counts = {"accepted": str(accepted.count), "quarantined": str(refused.count)}
        meta = {"source": arrival.source, **counts, **arrival.meta}
        new = table.append(
            path, accepted.rows(), once, turn=turn, after=None, versions=True, counters=None, who=who, **meta
        )
    commonest = dict(reasons.most_common(_SHOWN))
    return Batch(id, recipe.name, arrival.source, accepted.count, refused.count, new, notes, facts, commonest)


def _read(recipe: Recipe, arrival: _Arrival, folder: Path, report: Report) -> pa.Table:
    return sources.read(
        arrival.inputs, recipe.contract, sources.limits(), folder, arrival.labels, arrival.feed, arrival.layout, report
    )


def _quarantined(batch: str, refusal: Refusal) -> Refusal:
    return Refusal(refusal.what, refusal.which, f"{refusal.next}. It is in quarantine as batch {batch}")


def _check_size(path: Path) -> None:
    limit = settings().ingest_disk_mb << 20
    size = sum(p.stat().st_size for p in path.rglob("*") if p.is_file()) if path.is_dir() else path.stat().st_size
    if size > limit:
        what = f"it has {size >> 20} MB, above the limit of {limit >> 20}"
        raise Refusal(what, path, "Split it, or raise RATCHET_INGEST_DISK_MB")


def accepted_or_refused(
    rows: pa.Table, recipe: Recipe, batch: str, in_benchmark: frozenset[str]
) -> Iterator[tuple[pa.Table, pa.Table]]:
    """The accepted rows as records, and the refused rows with their reasons; a few thousand rows at a time."""
    now = clock.utc()
    for part in rows.to_batches(max_chunksize=4096):
        checked = _checked(part, recipe, in_benchmark)
        yield _accepted(part, recipe, batch, checked, now), _refused(part, checked, recipe.show_inputs)


@dataclass(frozen=True)
class _Checked:
    """A row that was checked."""

    label: Any
    """As the lake keeps it."""
    label_problem: str
    """Why the label is refused; empty if it is not."""
    digest: str
    """Of the input."""
    reason: str
    """Why the row is refused; empty if it is not."""


def _checked(part: pa.RecordBatch, recipe: Recipe, in_benchmark: frozenset[str]) -> list[_Checked]:
    read, show = recipe.answers.read_label, recipe.show_inputs
    labels = {text: _label_or_reason(text, read, show) for text in set(part["label"].to_pylist())}
    checked = list[_Checked]()
    for place, row in enumerate(part.select(["label", "reason", "group", "digest", "captured_at"]).to_pylist()):
        label, wrong = labels[row["label"]]
        digest, why = _digest_or_reason(row, part["data"][place], recipe, in_benchmark)
        checked.append(_Checked(label, wrong, digest, row["reason"] or wrong or why))
    return checked


def _accepted(part: pa.RecordBatch, recipe: Recipe, batch: str, checked: Sequence[_Checked], now: datetime) -> pa.Table:
    """The rows that are not refused, as records."""
    contract = recipe.contract
    good = [each for each in checked if not each.reason]
    rows = part.filter(pa.array([not each.reason for each in checked], pa.bool_()))
    cell_of, cells, records = parts.records(contract.kind).cell, [], []
    for each, data in zip(good, rows["data"].to_pylist(), strict=True):
        cell, beside = cell_of(data), contract.beside(data)
        content = str(cell if each.label is None else each.label) + (f":{beside}" if beside else "")
        cells.append(cell)
        records.append(record_digest(each.digest, content))
    columns = {
        "record": records,
        "input": [each.digest for each in good],
        "batch": [batch] * len(good),
        "group": rows["group"] if recipe.groups else [None] * len(good),
        contract.column: cells,
        "label": [each.label for each in good],
        "captured_at": rows["captured_at"].fill_null(now),
    }
    return pa.table(columns, schema=schema(contract, recipe.answers.task))


def _refused(part: pa.RecordBatch, checked: Sequence[_Checked], show: bool) -> pa.Table:
    """The refused rows, with what came in."""
    rows = part.filter(pa.array([bool(each.reason) for each in checked], pa.bool_())).to_pylist()
    for row, each in zip(rows, (each for each in checked if each.reason), strict=True):
        # If columns are swapped, the label is somebody's text.
        hidden = each.label_problem and not show
        row["label"] = "not shown, as `show_inputs` is off" if hidden else str(row["label"])[:40]
        row |= {"reason": each.reason, "payload": row["payload"] or row["data"]}
    return pa.Table.from_pylist(rows, schema=encoding.ROWS)


def _collected(parts: Iterable[tuple[pa.Table, pa.Table]]) -> tuple[pa.Table, pa.Table]:
    accepted, refused = zip(*parts, strict=True)
    return pa.concat_tables(accepted), pa.concat_tables(refused)


def _label_or_reason(label: str | None, read: Callable[[str | None], Any], show: bool) -> tuple[Any, str]:
    """The label as the lake keeps it, or the reason why it is none."""
    try:
        return read(label), ""
    except Refusal as refusal:
        given = f" {refusal.which[:40]!r}" if show else ""
        return None, f"the label{given} {refusal.what}"


def _digest_or_reason(
    row: dict[str, Any], data: pa.BinaryScalar, recipe: Recipe, in_benchmark: frozenset[str]
) -> tuple[str, str]:
    """The input's digest, or the reason why the record is refused."""
    if row["reason"]:
        return "", row["reason"]
    if recipe.groups and row["group"] not in (None, *recipe.groups):
        given = f" {str(row['group'])[:40]!r}" if recipe.show_inputs else ""
        return "", f"the group{given} is not one of {', '.join(recipe.groups)[:200]}"
    try:
        digest = row["digest"] or recipe.contract.digest(data.as_py(), row["captured_at"])
    except Refusal as refusal:
        return "", refusal.what
    if digest in in_benchmark:
        what = f"the {recipe.contract.column} is an input of the benchmark set, which is never trained on"
        return "", f"{what}: {recipe.contract.same}"
    return digest, ""
