"""How an image is shown: its attribution in the model card, and how one is sent from a shell."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image

from ratchet import charts
from ratchet.endpoints import CLASSIFY


def attribution(contract: Mapping[str, Any], rendered: str, weighted: Sequence[charts.Weighted]) -> Markup:
    """An image (a data URI) under its regions (top, bottom, left, right), opaque in proportion to their attribution."""
    height, width = contract["height"], contract["width"]
    most, scale = charts.largest(weighted), 168 / max(height, width)
    href = rendered if rendered.startswith("data:image/png;base64,") else ""
    image = Markup('<image class="sharp" href="{}" width="{:g}" height="{:g}"/>')
    parts = [image.format(href, width * scale, height * scale)]
    for (top, bottom, left, right), weight in weighted:
        sides = left * scale, top * scale, (right - left) * scale, (bottom - top) * scale
        parts.append(charts.rect(charts.sign(weight), *sides, f"{weight:+.3f}", 0.72 * abs(weight) / most))
    return charts.svg(width * scale, height * scale, "Attribution of the prediction to regions of the image", parts)


def curl(input: np.ndarray, body: Path, base: str) -> str:
    """The command that sends an image [1, height, width], which is written beside the JSON `body`."""
    picture = body.with_suffix(".png")
    Image.fromarray(input[0]).save(picture)
    return f"curl -F image=@{picture} {base}{CLASSIFY}"
