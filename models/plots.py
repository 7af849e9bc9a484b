"""The plots of a run."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def curves(history: Sequence[Mapping[str, float]], names: Sequence[str]) -> Any:
    """These metrics by epoch on the training and validation sides."""
    figure, axes = _figure(len(names), (4.5 * len(names), 3.6))
    epochs = range(1, len(history) + 1)
    for axis, name in zip(axes, names, strict=True):
        axis.plot(epochs, [h[name] for h in history], marker="o", label="training")
        axis.plot(epochs, [h[f"val_{name}"] for h in history], marker="o", label="validation")
        axis.set(title=name.capitalize().replace("_", " "), xlabel="epoch", xticks=list(epochs))
        axis.grid(alpha=0.3)
        axis.legend()
    return figure


def confusion(counts: Sequence[Sequence[int]], classes: Sequence[str]) -> Any:
    """The share of each true class (rows) that was predicted as each class (columns)."""
    n, table = len(classes), np.asarray(counts, float)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    figure, (axis,) = _figure(1, (1.6 + 0.7 * n, 1.2 + 0.62 * n))
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axis.set(
        xticks=range(n), yticks=range(n), xticklabels=classes, yticklabels=classes, xlabel="predicted", ylabel="true"
    )
    axis.tick_params(axis="x", rotation=45)
    for row, column in np.ndindex(n, n):
        if shares[row, column] >= 0.005:
            colour = "white" if shares[row, column] > 0.5 else "black"
            axis.text(column, row, f"{shares[row, column]:.0%}", ha="center", va="center", fontsize=8, color=colour)
    return figure


def _figure(columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)  # no window, whatever the environment is
    return figure, np.atleast_1d(figure.subplots(1, columns))
