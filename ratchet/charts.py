"""Small charts as SVG, for a page that loads nothing from elsewhere. Pure; all text is escaped.

The page defines the colours: series have the classes `s0`, `s1`..., areas `a0`, `a1`..., the frame `grid`, text `tick`.
"""

import math
from collections.abc import Callable, Mapping, Sequence

from markupsafe import Markup

_W, _H, LEFT, _BOTTOM, TOP = 320, 180, 40, 24, 10
Weighted = tuple[Sequence[int], float]
"""A region of an input, and its attribution."""


def lines(series: Mapping[str, Sequence[float]]) -> Markup:
    """Each series over its index from 1; all share both axes."""
    series = {name: [v for v in values if math.isfinite(v)] for name, values in series.items()}  # a run may diverge
    values = [v for points in series.values() for v in points]
    low, high = min(values, default=0.0), max(values, default=0.0)
    pad = (high - low) * 0.08 or 0.05
    low, high, count = low - pad, high + pad, max(map(len, series.values()), default=0)
    x, y = scale(0, max(count - 1, 1), LEFT + 8, _W - 12), scale(low, high, _H - _BOTTOM, TOP)
    parts = []
    for tick in _ticks(low, high):
        parts += [_line("grid", LEFT, y(tick), _W, y(tick)), text("tick end", LEFT - 5, y(tick) + 3, f"{tick:g}")]
    parts += [text("tick mid", x(i), _H - 6, str(i + 1)) for i in range(0, count, max(1, (count + 7) // 8))]
    for n, (name, points) in enumerate(series.items()):
        coordinates = " ".join(f"{x(i):.1f},{y(v):.1f}" for i, v in enumerate(points))
        line = Markup('<polyline class="s{} line" points="{}"><title>{}</title></polyline>')
        parts.append(line.format(n, coordinates, name))
        parts += [_dot(n, x(i), y(v), 2.4) for i, v in enumerate(points)]
    return svg(_W, _H, f"Line chart of {', '.join(series)}", parts)


def matrix(counts: Sequence[Sequence[int]], names: Sequence[str]) -> Markup:
    """The share of each row in each column, darker for a larger share; rows are true, columns predicted classes."""
    n, cell, left, top, parts = len(names), 34, 92, 8, []
    for row, line in enumerate(counts):
        y, total = top + row * cell, sum(line) or 1
        parts.append(text("tick end", left - 6, y + cell / 2 + 4, names[row]))
        for column, count in enumerate(line):
            x, share = left + column * cell, count / total
            title = f"{names[row]} predicted as {names[column]}: {count} of {total}"
            kind = "right" if row == column else "wrong"
            parts.append(rect(kind, x, y, cell - 2, cell - 2, title, 0.05 + 0.95 * share))
            if share >= 0.005:
                style = "cell strong" if share > 0.5 else "cell"
                parts.append(text(style, x + cell / 2 - 1, y + cell / 2 + 3, f"{share * 100:.0f}"))
    label = Markup('<text class="tick end" transform="translate({},{}) rotate(-40)">{}</text>')
    parts += [label.format(left + i * cell + cell / 2, top + n * cell + 10, name) for i, name in enumerate(names)]
    return svg(left + n * cell, top + n * cell + 70, "Confusion matrix, in percent of each true class", parts)


def bars(counts: Mapping[str, float]) -> Markup:
    """One horizontal bar for each name."""
    most, parts, step = max(counts.values(), default=0) or 1, [], 20
    for n, (name, count) in enumerate(counts.items()):
        width, y = 220 * count / most, n * step + 4
        parts.append(text("tick end", 96, y + 10, name))
        parts.append(rect("bar", 102, y, width, 13, f"{name}: {count:,}"))
        parts.append(text("tick", 106 + width, y + 10, f"{count:,.0f}"))
    return svg(380, len(counts) * step + 6, "Bar chart", parts)


def shares(moments: Sequence[tuple[float, Mapping[str, float]]], until: float) -> Markup:
    """Percent of the traffic by name, from each moment until the next; stacked in the order of first appearance."""
    names = list(dict.fromkeys(name for _, weights in moments for name in weights))
    start, width, height, parts = moments[0][0] if moments else until, 380, 80, []
    span = max(until - start, 1.0)
    ends = [*(at for at, _ in moments[1:]), until]
    for (at, weights), end in zip(moments, ends, strict=True) if moments else ():
        x, across, base = (at - start) / span * width, max((end - at) / span * width, 0.6), float(height)
        for n, name in enumerate(names):
            tall = height * weights.get(name, 0) / 100
            base -= tall
            if tall:
                parts.append(rect(f"a{n % 4}", x, base, across, tall, f"{name}: {weights[name]:g} %"))
    styles = ("tick", "tick mid", "tick mid", "tick mid", "tick end")
    for i, style in enumerate(styles):
        parts.append(text(style, width * i / 4, height + 15, f"+{_duration(span * i / 4)}"))
    return svg(width, height + 20, "Share of the traffic over time", parts)


def interval(value: float, low: float, high: float, threshold: float) -> Markup:
    """A value with its interval and a threshold."""
    first, last = min(low, threshold), max(high, threshold)
    pad = (last - first) * 0.1 or 1.0
    x = scale(first - pad, last + pad, 0, 140)
    limit = _line("limit", x(threshold), 1, x(threshold), 17)
    parts = [limit, _line("span", x(low), 9, x(high), 9), _dot(0, x(value), 9, 3.5)]
    return svg(140, 18, f"{value:.4g}, from {low:.4g} to {high:.4g}; the threshold is {threshold:.4g}", parts)


def forest(rows: Sequence[tuple[str, float, float, float]], limit: float | None) -> Markup:
    """A value with its interval (low, high) on each line, all on one axis, and the limit for all."""
    left, step, width = 118, 20, 380
    ends = [v for _, _, low, high in rows for v in (low, high)] + ([] if limit is None else [limit])
    first, last = min(ends, default=0.0), max(ends, default=1.0)
    pad = (last - first) * 0.06 or 0.05
    first, last = first - pad, last + pad
    x = scale(first, last, left, width - 12)
    bottom, parts = len(rows) * step + 6, []
    for tick in _ticks(first, last):
        parts += [_line("grid", x(tick), 2, x(tick), bottom), text("tick mid", x(tick), bottom + 13, f"{tick:g}")]
    if limit is not None:
        parts.append(_line("limit", x(limit), 2, x(limit), bottom))
    for n, (name, value, low, high) in enumerate(rows):
        y = n * step + 14
        parts.append(text("tick end", left - 8, y + 3, name))
        parts += [_line("span", x(low), y, x(high), y), _dot(0, x(value), y, 4)]
    return svg(width, bottom + 20, f"Values with their intervals: {', '.join(row[0] for row in rows)}", parts)


def reliability(bins: Sequence[tuple[float, float, int]]) -> Markup:
    """Accuracy over confidence, one dot per bin, larger for more records; on the line the model is calibrated."""
    side, most = _H - TOP - _BOTTOM, max((n for _, _, n in bins), default=1)

    def place(confidence: float, accuracy: float) -> tuple[float, float]:
        return LEFT + confidence * side, TOP + (1 - accuracy) * side

    parts = [_line("grid", *place(0, at), *place(1, at)) for at in (0.0, 0.25, 0.5, 0.75, 1.0)]
    parts += [text("tick end", LEFT - 5, place(0, at)[1] + 3, f"{at:g}") for at in (0.0, 0.5, 1.0)]
    parts += [text("tick mid", place(at, 0)[0], _H - 6, f"{at:g}") for at in (0.0, 0.5, 1.0)]
    parts.append(_line("limit", *place(0, 0), *place(1, 1)))
    parts += [_dot(0, *place(confidence, accuracy), 2 + 5 * math.sqrt(n / most)) for confidence, accuracy, n in bins]
    return svg(LEFT + side + 10, _H, "Accuracy over confidence", parts)


def curve_names(history: Sequence[Mapping[str, float]]) -> list[str]:
    """The metrics that every step has on both sides; the loss only if no metric is the same."""
    first = history[0] if history else {}
    both = [name for name in first if all({name, f"val_{name}"} <= step.keys() for step in history)]
    same = {"mean_squared_error", "mean_absolute_error"} & set(both)
    return sorted((name for name in both if name != "loss" or not same), reverse=True)


def largest(weighted: Sequence[Weighted]) -> float:
    """The largest weight, for a scale; 1 if every weight is 0."""
    return max((abs(weight) for _, weight in weighted), default=0.0) or 1.0


def sign(weight: float) -> str:
    """The class of a region that speaks for the prediction, or against it."""
    return "for" if weight >= 0 else "against"


def _ticks(low: float, high: float) -> list[float]:
    """About four round numbers from low to high."""
    power = 10.0 ** math.floor(math.log10((high - low) / 4))
    step = next((m * power for m in (1, 2, 5) if (high - low) / (m * power) <= 5), 10 * power)
    first = math.ceil(low / step)
    return [round(n * step, 9) for n in range(first, math.floor(high / step) + 1)]


def scale(first: float, last: float, start: float, stop: float) -> Callable[[float], float]:
    """A function from a value to its place on an axis: `first` is at `start`, `last` at `stop`."""
    return lambda value: start + (value - first) / (last - first) * (stop - start)


def _duration(seconds: float) -> str:
    if seconds < 180:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 10800 else f"{seconds / 3600:.0f} h"


def svg(width: float, height: float, label: str, parts: Sequence[Markup]) -> Markup:
    """A picture of these parts, with a label for people who do not see it."""
    svg = Markup('<svg viewBox="0 0 {:g} {:g}" style="max-width:{:g}px" role="img" aria-label="{}">{}</svg>')
    return svg.format(width, height, width * 1.5, label, Markup("").join(parts))


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(kind, x1, y1, x2, y2)


def _dot(series: int, x: float, y: float, radius: float) -> Markup:
    return Markup('<circle class="s{} dot" cx="{:.1f}" cy="{:.1f}" r="{:g}"/>').format(series, x, y, round(radius, 2))


def rect(kind: str, x: float, y: float, width: float, height: float, title: str, opacity: float = 1.0) -> Markup:
    """A rectangle with a title that a pointer shows."""
    rect = Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" fill-opacity="{:.2f}">')
    head = rect.format(kind, x, y, width, height, opacity)
    return head + Markup("<title>{}</title></rect>").format(title)


def text(kind: str, x: float, y: float, content: str) -> Markup:
    """A text of the page's class `kind`."""
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>').format(kind, x, y, content)
