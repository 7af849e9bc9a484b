"""Slices of a benchmark, by kind and name: a recipe asks for them, and an evaluation compares each. Pure."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

Masks = Mapping[str, np.ndarray]


def _mean(inputs: np.ndarray) -> np.ndarray:
    return inputs.reshape(len(inputs), -1).mean(axis=1)


def _length(inputs: np.ndarray) -> np.ndarray:
    return np.array([len(str(text)) for text in inputs], float)


BY_CLASS = "class"
_PROPERTIES: Mapping[str, Mapping[str, Callable[[np.ndarray], np.ndarray]]] = {
    "image": {"brightness": _mean},
    "text": {"length": _length},
    "series": {"level": _mean},
}
"""A number for each input [N, ...]; its lowest, middle and highest third are slices."""


def names(kind: str, has_classes: bool) -> tuple[str, ...]:
    """The slices that an evaluation of this kind of input can compare."""
    return (BY_CLASS, *_PROPERTIES[kind]) if has_classes else tuple(_PROPERTIES[kind])


def masks(kind: str, requested: Sequence[str], inputs: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> Masks:
    """Which of the records [N] belong to each requested slice; empty slices are left out."""
    selected: dict[str, np.ndarray] = {}
    for name in requested:
        if name == BY_CLASS:
            selected |= {f"class {class_}": labels == number for number, class_ in enumerate(classes)}
        else:
            selected |= _thirds(_PROPERTIES[kind][name](inputs), name)
    return {name: mask for name, mask in selected.items() if mask.any()}


def _thirds(values: np.ndarray, name: str) -> Masks:
    low, high = np.quantile(values, [1 / 3, 2 / 3])
    medium = (values > low) & (values <= high)
    return {f"low {name}": values <= low, f"medium {name}": medium, f"high {name}": values > high}
