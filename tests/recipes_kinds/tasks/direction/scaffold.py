"""Outlines a recipe for labels that are angles."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from ratchet.lake.outline import Fields, quoted


def fit(labels: Sequence[str | None]) -> float:
    return 1.0 if labels and all(str(label).endswith("°") for label in labels) else 0.0


def fields(rows: pa.Table, source: Path) -> Fields:
    return {
        "task": "    task=Direction(),\n",
        "purpose": quoted(f"Predicts a direction for an input of {source.name}."),
        "batch": f"Feed({quoted(source.name)}, every=-6)",
        "benchmark": f"Feed({quoted(source.name)}, every=6)",
        "share": "",
        "criteria": "DirectionCriteria(similarity=0.8)",
        "imports": "from ratchet.tasks.direction import Direction\n"
        "from ratchet.tasks.direction.criteria import DirectionCriteria",
    }
