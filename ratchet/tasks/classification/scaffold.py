"""Outlines a recipe whose answers are classes."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from ratchet.bounds import MAX_NAME
from ratchet.errors import Refusal
from ratchet.lake.outline import Fields, quoted
from ratchet.settings import is_printable

_MOST = 1000
_RARE = 0.8
"""The share of the most frequent class above which accuracy says little."""


def fit(labels: Sequence[str | None]) -> float:
    """Any labels may be names of classes."""
    return 0.5


def fields(rows: pa.Table, source: Path) -> Fields:
    """Thresholds a little above those of the most frequent class; every sixth record is benchmark."""
    counts = Counter(rows["label"].drop_null().to_pylist())
    groups = sorted({group for group in rows["group"].to_pylist() if group})
    if len(counts) < 2:
        raise Refusal(f"its labels are {[str(label) for label in counts][:5]}", source, "Give at least two classes")
    if len(counts) > 100 and len(counts) > counts.total() / 3:
        example = f"such as {next(iter(counts))[:40]!r}"
        what = f"its labels differ in nearly every record: {len(counts)} of {counts.total()}, {example}"
        raise Refusal(what, source, "Give classes that come often, or numbers, without separators and units")
    if len(counts) > _MOST:
        what = f"it has {len(counts)} different labels, above the limit of {_MOST} classes"
        raise Refusal(what, source, "Give fewer classes; of numbers, more than 30 different ones are a regression")
    for name in counts:
        if len(name) > MAX_NAME or not is_printable(name):
            what = f"the label {name[:40]!r} cannot be the name of a class"
            raise Refusal(what, source, f"Give names of at most {MAX_NAME} printable characters")
    names = sorted(counts, key=lambda label: (len(label), label) if label.isdigit() else (0, label))
    total = counts.total()
    most, least = max(counts.values()) / total, min(counts.values()) / total
    every = _every(rows["label"].to_pylist(), counts)
    listed = ", ".join(map(quoted, names))
    return {
        "task": f"{_alike(names)}    task=Classification(({listed})),\n{_groups_comment(groups)}",
        "purpose": quoted(f"Predicts which of {len(names)} classes an input of {source.name} belongs to."),
        "batch": f"Feed({quoted(source.name)}, every=-{every})",
        "benchmark": f"Feed({quoted(source.name)}, every={every})",
        "share": f", min_class_share={least / 3:.2g}",
        "criteria": _criteria(most, least, len(names)),
    }


def _every(labels: Sequence[str | None], counts: Counter[str]) -> int:
    """Which records are the benchmark: every sixth, or another number, if labels in turn fall in with that."""
    shares = {label: count / counts.total() for label, count in counts.items()}

    def distance(every: int) -> float:
        sample = Counter(label for label in labels[::every] if label is not None)
        return sum(abs(share - sample[label] / max(1, sample.total())) for label, share in shares.items())

    best = min((6, 7, 5), key=distance)
    return 6 if distance(6) <= 1.5 * distance(best) + 0.05 else best


def _criteria(most: float, least: float, classes: int) -> str:
    """Thresholds above what the most frequent class alone reaches.

    Where that is nearly everything, accuracy says little: then it may fall a little, and the mean of the classes'
    recalls counts.
    """
    if most > _RARE:
        balanced = round(1 / classes + (1 - 1 / classes) / 4, 3)
        limits = f"accuracy={math.floor(1000 * (2 * most - 1)) / 1000}, balanced_accuracy={balanced}, worst_class=0.0"
        return f"Criteria({limits}, margin=0.02, better_than_constant=False)"
    return f"Criteria(accuracy={round(most + (1 - most) / 4, 2)}, worst_class={least / 2:.2g}, margin=0.02)"


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
