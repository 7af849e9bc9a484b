"""What the outlines of every kind share: reading the data as ingest would, and the lines about classes."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from ratchet.contract import Contract
from ratchet.errors import Refusal
from ratchet.lake import sources
from ratchet.recipe import MAX_NAME
from ratchet.scratch import scratch_folder
from ratchet.settings import is_printable, settings

Fields = Mapping[str, str]
"""Values for the template of a recipe, by field."""
_MIN_RECORDS = 60


@dataclass(frozen=True)
class Outline:
    rows: pa.Table
    """What ingest would read; a row with a `reason` would go to quarantine."""
    fields: Fields


def read(source: Path, contract: Contract) -> pa.Table:
    """The rows of a source. Raises Refusal if it cannot be read."""
    limits = sources.Limits(settings().ingest_memory_mb << 20, settings().ingest_disk_mb << 20)
    with scratch_folder() as folder:
        return sources.read(source, contract, limits, folder)


def accepted(rows: pa.Table, source: Path) -> pa.Table:
    """The rows without a reason against them. Raises Refusal if these are too few for a recipe."""
    good = rows.filter(pc.is_null(rows["reason"]))
    if good.num_rows < _MIN_RECORDS:
        reasons = rows["reason"].drop_null()
        first = f" ({reasons[0].as_py()})" if len(reasons) else ""
        what = f"only {good.num_rows} of its records can be read{first}"
        raise Refusal(what, source, f"Give at least {_MIN_RECORDS}")
    return good


def class_fields(rows: pa.Table, source: Path) -> Fields:
    """Thresholds above the accuracy of always predicting the most frequent class; every sixth record is benchmark."""
    counts = Counter(rows["label"].to_pylist())
    groups = sorted({group for group in rows["group"].to_pylist() if group})
    if len(counts) < 2 or None in counts:
        raise Refusal(f"its labels are {[str(label) for label in counts][:5]}", source, "Give at least two classes")
    if len(counts) > 1000:
        raise Refusal(f"it has {len(counts)} labels", source, "Give at most 1000 classes, not numbers")
    for name in counts:
        if len(name) > MAX_NAME or not is_printable(name):
            what = f"the label {name[:40]!r} cannot be the name of a class"
            raise Refusal(what, source, f"Give names of at most {MAX_NAME} printable characters")
    names = sorted(counts, key=lambda label: (len(label), label) if label.isdigit() else (0, label))
    most, least = max(counts.values()) / rows.num_rows, min(counts.values()) / rows.num_rows
    accuracy = round((1 + most) / 2, 2)
    return {
        "classes": f"    classes=({', '.join(map(quoted, names))}),\n{_groups_comment(groups)}",
        "purpose": quoted(f"Predicts which of {len(names)} classes an input of {source.name} belongs to."),
        "batch": f"Feed({quoted(source.name)}, every=-6)",
        "benchmark": f"Feed({quoted(source.name)}, every=6)",
        "share": f", min_class_share={least / 3:.2g}",
        "criteria": f"Criteria(accuracy={accuracy}, worst_class={accuracy / 2:.2g}, margin=0.02)",
    }


def _groups_comment(groups: list[str]) -> str:
    """The values of the column `group`, commented out: a person decides whether they are groups of people."""
    if not 2 <= len(groups) <= 20:
        return ""
    names = ", ".join(map(quoted, groups))
    return f"    # groups=({names}),  # of people: `Criteria(fairness={{...}})` needs it\n"


def quoted(text: str) -> str:
    """A text as it stands in the recipe."""
    return json.dumps(text, ensure_ascii=False)
