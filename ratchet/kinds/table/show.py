"""How a row of a table is shown: its attribution in the model card, and how one is sent from a shell."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from ratchet import charts
from ratchet.kinds.parts import curl_json as curl

_LINE = Markup(
    '<tr><td>{}</td><td class="effect"><i class="{}" style="width:{:.0f}%"></i></td><td class="n">{:+.3g}</td></tr>'
)
__all__ = ["attribution", "curl"]


def attribution(contract: Mapping[str, Any], rendered: str, weighted: Sequence[charts.Weighted]) -> Markup:
    """The columns with their values, those that move the prediction most first, each with a bar."""
    row, most = json.loads(rendered), charts.largest(weighted)
    names = [column["name"] for column in contract["columns"] if column.get("feature", True)]
    lines = []
    for (start, stop), weight in sorted(weighted, key=lambda each: -abs(each[1])):
        named = ", ".join(f"{name} = {row[name]}" for name in names[start:stop])
        share = 100 * abs(weight) / most
        lines.append(_LINE.format(named, charts.sign(weight), share, weight))
    return Markup("<table>{}</table>").format(Markup("").join(lines))
