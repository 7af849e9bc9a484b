"""How a text is shown: its attribution in the model card, and how one is sent from a shell."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from ratchet import charts
from ratchet.kinds.parts import curl_json as curl

__all__ = ["attribution", "curl"]
_SHOWN = 420
"""Characters of a text that are shown."""


def attribution(contract: Mapping[str, Any], rendered: str, weighted: Sequence[charts.Weighted]) -> Markup:
    """The beginning of a text with each region (start, stop) marked in proportion to its attribution."""
    most, parts, at = charts.largest(weighted), [], 0
    mark = Markup('<mark class="{}" style="--much:{:.0f}%" title="{:+.3f}">{}</mark>')
    for (start, stop), weight in weighted:
        if stop > _SHOWN:
            break
        parts.append(Markup("{}").format(rendered[at:start]))
        parts.append(mark.format(charts.sign(weight), 100 * abs(weight) / most, weight, rendered[start:stop]))
        at = stop
    rest = rendered[at:_SHOWN] + (" …" if len(rendered) > _SHOWN else "")
    return Markup("").join([*parts, Markup("{}").format(rest)])
