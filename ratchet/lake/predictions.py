"""The lake's tables of what was served: predictions, the labels that came back, and what was lost of either log.

A segment of a host's log lands once: its number is the turn of its process's transaction.
"""

import base64
import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ratchet import clock
from ratchet.errors import Refusal
from ratchet.lake import table
from ratchet.lake.ingest import lake

_AT = pa.timestamp("us", tz="UTC")
_TEXTS = dict.fromkeys(("request", "revision", "subject", "origin", "statistics", "host", "process"), pa.string())
_OTHERS = {"row": pa.int32(), "number": pa.int64(), "at": _AT, "output": pa.list_(pa.float32()), "input": pa.binary()}
PREDICTIONS = pa.schema({**_TEXTS, **_OTHERS})
"""`statistics` is JSON; `input` is as the contract packs it, and null unless the recipe keeps inputs."""
FEEDBACK = pa.schema(
    {"request": pa.string(), "row": pa.int32(), "label": pa.string(), "at": _AT, "source": pa.string()}
)
LOST = pa.schema({"process": pa.string(), "host": pa.string(), "taken": pa.int64(), "lost": pa.int64(), "at": _AT})
"""Of each process that ended: the rows that it should have logged, and those that did not land."""
_FORMAT = 1


def predictions(recipe: str) -> Path:
    return lake(recipe) / "predictions"


def feedback(recipe: str) -> Path:
    return lake(recipe) / "feedback"


def lost(recipe: str) -> Path:
    return lake(recipe) / "lost"


def of_callers(revision: str) -> pc.Expression:
    """Whether a prediction is one that a caller got from the revision."""
    return (pc.field("revision") == revision) & (pc.field("origin") == "caller")


@dataclass(frozen=True)
class Segment:
    """One file of a host's log."""

    number: int
    content: bytes


def landed(path: Path, process: str) -> int:
    """The number after that of the last segment of the process that has landed in that table."""
    return table.turn_of(path, f"log:{process}")


def land_predictions(recipe: str, process: str, host: str, segments: Sequence[Segment], after: int, who: str) -> int:
    """Lands the process's next segments; the number of rows, 0 if another collector was faster.

    `after` is what `landed` said before they were chosen. Rows that are no whole line count as lost later, and so do
    those of segments that were removed.
    """
    rows = [_prediction(line, host, process) for line in _lines(segments)]
    count = _count_landed(recipe, process) + len(rows)
    return _land(predictions(recipe), process, rows, PREDICTIONS, segments, after, who, {f"rows:{process}": count})


def note_requested(recipe: str, keys: Iterable[tuple[str, int]], who: str) -> None:
    """Keeps which labels were requested: those predictions are no random sample, so they measure nothing."""
    rows = [{"request": request, "row": row} for request, row in keys]
    schema = pa.schema({"request": pa.string(), "row": pa.int32()})
    path = lake(recipe) / "requested"
    table.append(path, pa.Table.from_pylist(rows, schema=schema), str(uuid.uuid4()), versions=False, who=who)


def requested(recipe: str) -> set[tuple[str, int]]:
    """The predictions whose labels were requested."""
    rows = table.read(lake(recipe) / "requested")
    return {(row["request"], row["row"]) for row in rows.to_pylist()} if rows is not None else set()


def labels_of(segments: Sequence[Segment]) -> dict[tuple[str, int], str]:
    """The labels of segments by request and row, the newest of each."""
    return {(line["request"], line["row"]): line["label"] for line in _lines(segments)}


def land_feedback(recipe: str, process: str, segments: Sequence[Segment], after: int, who: str) -> int:
    """Lands the process's next segments of labels; the number of rows."""
    rows = [
        {"request": line["request"], "row": line["row"], "label": line["label"], "at": _at(line), "source": "endpoint"}
        for line in _lines(segments)
    ]
    return _land(feedback(recipe), process, rows, FEEDBACK, segments, after, who)


def add_feedback(recipe: str, labels: Mapping[tuple[str, int], str], source: str, who: str) -> None:
    """Adds labels by request and row. The same again change nothing, since they say the same."""
    now = clock.utc()
    rows = [
        {"request": request, "row": row, "label": label, "at": now, "source": source}
        for (request, row), label in labels.items()
    ]
    table.append(
        feedback(recipe), pa.Table.from_pylist(rows, schema=FEEDBACK), f"file:{uuid.uuid4()}", versions=False, who=who
    )


def note_end(recipe: str, process: str, host: str, taken: int, who: str) -> int:
    """Records what a process that ended has lost, once; the number of rows."""
    missing = max(0, taken - _count_landed(recipe, process))  # after a power failure `taken` may be older
    row = {"process": process, "host": host, "taken": taken, "lost": missing, "at": clock.utc()}
    table.append(lost(recipe), pa.Table.from_pylist([row], schema=LOST), f"ended:{process}", versions=False, who=who)
    return missing


def _count_landed(recipe: str, process: str) -> int:
    """The rows of a process that have landed, whether or not they were erased since."""
    if counted := table.turn_of(predictions(recipe), f"rows:{process}"):
        return counted
    present = table.read(predictions(recipe), ["number"], where=("process", process))
    return present.num_rows if present else 0


def count_lost(recipe: str) -> int:
    """Rows that processes which ended should have logged, and that did not land."""
    rows = table.read(lost(recipe), ["lost"])
    return sum(rows["lost"].to_pylist()) if rows is not None else 0


def _land(
    path: Path,
    process: str,
    rows: Sequence[Mapping[str, Any]],
    schema: pa.Schema,
    segments: Sequence[Segment],
    after: int,
    who: str,
    counters: Mapping[str, int] | None = None,
) -> int:
    turn = segments[-1].number + 1
    content = pa.Table.from_pylist(list(rows), schema=schema)
    new = table.append(
        path, content, f"log:{process}", turn=turn, after=after, versions=False, counters=counters, who=who
    )
    return len(rows) if new else 0


def _lines(segments: Iterable[Segment]) -> Iterable[dict[str, Any]]:
    for segment in segments:
        for text in segment.content.split(b"\n"):
            try:
                line = json.loads(text)
            except ValueError:  # the last line of a process that was killed, or the end of the file
                continue
            if line["format"] > _FORMAT:
                what = "the log was written by a newer Ratchet"
                raise Refusal(what, f"segment {segment.number}", "Upgrade this one")
            yield line


def _prediction(line: Mapping[str, Any], host: str, process: str) -> dict[str, Any]:
    own = {name: line[name] for name in ("request", "revision", "subject", "origin", "row", "number", "output")}
    kept = base64.b64decode(line["input"]) if "input" in line else None
    place = {"host": host, "process": process}
    return {**own, **place, "at": _at(line), "statistics": json.dumps(line["statistics"]), "input": kept}


def _at(line: Mapping[str, Any]) -> datetime:
    return datetime.fromtimestamp(clock.played(line["at"]), UTC)
