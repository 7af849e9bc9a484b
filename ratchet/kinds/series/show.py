"""How a window is shown: its attribution in the model card, and how one is sent from a shell."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from ratchet import charts
from ratchet.kinds.parts import curl_json as curl

__all__ = ["attribution", "curl"]


def attribution(contract: Mapping[str, Any], rendered: str, weighted: Sequence[charts.Weighted]) -> Markup:
    """A window, its forecast and the actual values; each region (start, stop) is shaded by its attribution."""
    content = json.loads(rendered)
    window, forecast, actual = content["window"], content["forecast"], content["actual"]
    count, width, height = len(window) + len(forecast), 480, 150
    values = [*window, *forecast, *actual]
    low, high = min(values, default=0.0), max(values, default=1.0)
    low, high = (low - 0.5, high + 0.5) if low == high else (low, high)
    x = charts.scale(0, max(count - 1, 1), charts.LEFT, width - 8)
    y = charts.scale(low, high, height - 8, charts.TOP)
    most, parts = charts.largest(weighted), []
    for (start, stop), weight in weighted:
        span = x(start), charts.TOP, x(stop) - x(start), height - charts.TOP - 8
        parts.append(charts.rect("for", *span, f"{weight:+.3f}", 0.5 * abs(weight) / most))
    ticks = (low, (low + high) / 2, high)
    parts += [charts.text("tick end", charts.LEFT - 5, y(value) + 3, f"{value:.3g}") for value in ticks]
    last = max(len(window) - 1, 0)
    curves = (("fourth", 0, window), ("s1", last, [*window[-1:], *actual]), ("s0", last, [*window[-1:], *forecast]))
    for style, first, curve in curves:
        points = " ".join(f"{x(first + i):.1f},{y(value):.1f}" for i, value in enumerate(curve))
        parts.append(Markup('<polyline class="{} line" points="{}"/>').format(style, points))
    return charts.svg(width, height, "A window, its forecast, and the actual values", parts)
