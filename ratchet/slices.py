"""Slices of a benchmark, by kind and name: a recipe asks for them, and an evaluation compares each. Pure."""

from collections.abc import Mapping, Sequence

import numpy as np

from ratchet.kinds import parts

Masks = Mapping[str, np.ndarray]


BY_CLASS = "class"


def names(kind: str, has_classes: bool) -> tuple[str, ...]:
    """The slices that an evaluation of this kind of input can compare."""
    properties = parts.evaluation(kind).PROPERTIES
    return (BY_CLASS, *properties) if has_classes else tuple(properties)


def masks(kind: str, requested: Sequence[str], inputs: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> Masks:
    """Which of the records [N] belong to each requested slice; empty slices are left out."""
    selected: dict[str, np.ndarray] = {}
    properties = parts.evaluation(kind).PROPERTIES
    for name in requested:
        if name == BY_CLASS:
            selected |= {f"class {class_}": labels == number for number, class_ in enumerate(classes)}
        else:
            selected |= _thirds(properties[name](inputs), name)
    return {name: mask for name, mask in selected.items() if mask.any()}


def _thirds(values: np.ndarray, name: str) -> Masks:
    low, high = np.quantile(values, [1 / 3, 2 / 3])
    medium = (values > low) & (values <= high)
    return {f"low {name}": values <= low, f"medium {name}": medium, f"high {name}": values > high}
