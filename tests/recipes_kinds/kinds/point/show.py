"""A point in the model card, as its numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from ratchet import charts
from ratchet.kinds.parts import curl_json as curl

__all__ = ["attribution", "curl"]


def attribution(contract: Mapping[str, Any], rendered: str, weighted: Sequence[charts.Weighted]) -> Markup:
    weights = ", ".join(f"{weight:+.3f}" for _, weight in weighted)
    return Markup("<code>{}</code> {}").format(rendered, weights)
