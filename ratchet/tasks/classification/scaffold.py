"""Outlines a recipe whose answers are classes."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from ratchet.bounds import MAX_NAME
from ratchet.errors import Refusal
from ratchet.lake.outline import Fields, quoted
from ratchet.settings import is_printable


def fit(labels: Sequence[str | None]) -> float:
    """Any labels may be names of classes."""
    return 0.5


def fields(rows: pa.Table, source: Path) -> Fields:
    """Thresholds a little above those of the most frequent class; every sixth record is benchmark."""
    counts = Counter(rows["label"].drop_null().to_pylist())
    groups = sorted({group for group in rows["group"].to_pylist() if group})
    if len(counts) < 2:
        raise Refusal(f"its labels are {[str(label) for label in counts][:5]}", source, "Give at least two classes")
    if len(counts) > 1000:
        raise Refusal(f"it has {len(counts)} labels", source, "Give at most 1000 classes, not numbers")
    for name in counts:
        if len(name) > MAX_NAME or not is_printable(name):
            what = f"the label {name[:40]!r} cannot be the name of a class"
            raise Refusal(what, source, f"Give names of at most {MAX_NAME} printable characters")
    names = sorted(counts, key=lambda label: (len(label), label) if label.isdigit() else (0, label))
    most, least = max(counts.values()) / rows.num_rows, min(counts.values()) / rows.num_rows
    accuracy = round(most + (1 - most) / 4, 2)
    listed = ", ".join(map(quoted, names))
    return {
        "task": f"{_alike(names)}    task=Classification(({listed})),\n{_groups_comment(groups)}",
        "purpose": quoted(f"Predicts which of {len(names)} classes an input of {source.name} belongs to."),
        "batch": f"Feed({quoted(source.name)}, every=-6)",
        "benchmark": f"Feed({quoted(source.name)}, every=6)",
        "share": f", min_class_share={least / 3:.2g}",
        "criteria": f"Criteria(accuracy={accuracy}, worst_class={least / 2:.2g}, margin=0.02)",
    }


def _alike(names: Sequence[str]) -> str:
    """Names of classes that differ in case or blanks alone, as a comment: they are probably one class."""
    by_spelling: dict[str, list[str]] = {}
    for name in names:
        by_spelling.setdefault(" ".join(name.split()).casefold(), []).append(name)
    groups = (" and ".join(map(quoted, alike)) for alike in by_spelling.values() if len(alike) > 1)
    return "".join(f"    # {alike} differ in case or blanks alone: are they one class?\n" for alike in groups)


def _groups_comment(groups: list[str]) -> str:
    """The values of the column `group`, commented out: a person decides whether they are groups of people."""
    if not 2 <= len(groups) <= 20:
        return ""
    names = ", ".join(map(quoted, groups))
    return f"    # groups=({names}),  # of people: `Criteria(fairness={{...}})` needs it\n"
