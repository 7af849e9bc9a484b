"""A column of a table: its type, and which values it takes. Needs only NumPy."""

import math
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ratchet.errors import Refusal

Cell = float | str
"""A value as a model receives it: NaN or an empty text where it is missing."""
EXACT = 2**53
"""Above it, a float64 does not hold every integer."""
_PROSE = 4000
"""Characters of a text in a table, at most: every row takes the room of the longest."""
_CONTROL = ("Cc", "Cs", "Co", "Zl", "Zp")
_TRUE, _FALSE = ("true", "t", "yes", "y", "1"), ("false", "f", "no", "n", "0")


@dataclass(frozen=True)
class Column:
    """A column that a row has, and a rule for each value that is not as usual.

    A value that is missing is refused if `missing` is 0. A number outside `low`..`high` is refused. A category that is
    none of `values` is refused, or if there are none, all that training has not seen are one and the same to the model.
    """

    name: str
    type: str
    """`number`, `integer`, `boolean`, `timestamp`, `category` or `text`."""
    missing: float = 0.0
    """The largest share of a batch's rows without a value; 0 if every row must have one."""
    low: float | None = None
    high: float | None = None
    values: tuple[str, ...] = ()
    """All categories there are; empty if there may be others."""
    most: int = 200
    """Categories, or words of a text, that a model tells apart, the most frequent ones."""
    length: int = 40
    """Characters of the longest category or text."""
    unit: str = ""
    about: str = ""
    feature: bool = True
    """Whether the model reads it. If not, the lake keeps it, and a request may leave it out."""

    def __post_init__(self) -> None:
        if isinstance(self.values, list):  # from JSON
            object.__setattr__(self, "values", tuple(self.values))
        normalized = tuple(unicodedata.normalize("NFC", value) for value in self.values)
        object.__setattr__(self, "values", normalized)
        if self.type not in _READERS:
            raise ValueError(f"the column {self.name!r} has the type {self.type!r}; choose from: {', '.join(_READERS)}")
        if not self.name or not self.name.isprintable() or len(self.name) > 200:
            raise ValueError(f"{self.name[:40]!r} is no name of a column: give 1 to 200 printable characters")
        if self.type == "text" and self.length > _PROSE:
            raise ValueError(
                f"the column {self.name!r} has texts of more than {_PROSE} characters: use the kind `text`"
            )
        if not 0 <= self.missing <= 1 or self.length < 1 or self.most < 1:
            raise ValueError(f"the column {self.name!r}: missing must be a share, and length and most at least 1")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"the column {self.name!r}: low is above high")

    @property
    def is_text(self) -> bool:
        """Whether its values are texts: categories, or words that a model reads one by one."""
        return self.type in ("category", "text")

    @property
    def is_category(self) -> bool:
        return self.type == "category"

    @property
    def dtype(self) -> str:
        return f"<U{max(self.length, *map(len, self.values), 1)}" if self.is_text else "<f8"

    @property
    def nothing(self) -> Cell:
        """The value of a cell without one."""
        return "" if self.is_text else math.nan

    @property
    def datatype(self) -> str:
        """The datatype of the Open Inference Protocol."""
        if self.type == "boolean" and not self.missing:  # BOOL has no value for one that is missing
            return "BOOL"
        return {"category": "BYTES", "text": "BYTES", "timestamp": "BYTES"}.get(self.type, "FP64")

    def read(self, value: Any, which: str, show: bool = True) -> Cell:
        """A cell from a typed value. Raises Refusal, which shows the value to its sender alone."""
        if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
            if not self.missing:
                raise Refusal(f"the column {self.name!r} has no value", which, "Give one")
            return self.nothing
        try:
            cell = _READERS[self.type](value)
        except OverflowError:
            cell = None
        shown = f" {repr(value)[:42]}" if show else " a value"
        if cell is None:
            raise Refusal(f"the column {self.name!r} has{shown}, no {self.type}", which, "Correct it")
        if isinstance(cell, str):
            self._check_category(cell, shown, which)
        else:
            self._check_number(cell, shown, which)
        return cell

    def _check_number(self, cell: float, shown: str, which: str) -> None:
        low, high = -math.inf if self.low is None else self.low, math.inf if self.high is None else self.high
        if not math.isfinite(cell):
            raise Refusal(f"the column {self.name!r} has{shown}, which is not finite", which, "Correct it")
        if not low <= cell <= high:
            what = f"the column {self.name!r} has{shown}, outside {low:g}..{high:g}"
            raise Refusal(what, which, "Correct it, or the recipe's range")

    def _check_category(self, cell: str, shown: str, which: str) -> None:
        if self.values and cell not in self.values:
            among = ", ".join(self.values)[:120]
            raise Refusal(f"the column {self.name!r} has{shown}, none of {among}", which, "Correct it")
        if len(cell) > self.length and not self.values:
            what = f"the column {self.name!r} has more than {self.length} characters"
            raise Refusal(what, which, "Shorten it, or raise the column's `length`")

    def parse(self, text: str) -> Any:
        """A typed value from a cell of a CSV file; the text itself if it is none, so that `read` names it.

        An empty cell is missing; so are NA, NaN and null, but not as a category, where each may be a name.
        """
        stripped = text.strip()
        if self.is_text:
            return text or None
        if stripped.lower() in ("", "na", "nan", "null", "none"):
            return None
        if self.type == "boolean" and stripped.lower() in _TRUE + _FALSE:
            return stripped.lower() in _TRUE
        if self.type == "timestamp":
            return stripped
        try:
            return text if "_" in stripped else float(stripped)
        except ValueError:
            return text


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _integer(value: Any) -> float | None:
    number = _number(value)
    exact = number is not None and math.isfinite(number) and number == int(number) and abs(number) <= EXACT
    return number if exact else None


def _boolean(value: Any) -> float | None:
    return float(value) if isinstance(value, bool) or value in (0, 1) else None


def seconds_of(value: Any) -> float | None:
    """Seconds after 1970. A time must name its zone."""
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return moment.astimezone(UTC).timestamp() if moment.tzinfo else None


def _category(value: Any) -> str | None:
    """In Unicode's form NFC. Joiners and no-break spaces belong to names, control characters do not."""
    return _without_control(value, "")


def _text(value: Any) -> str | None:
    """The same, and a text may have lines and tabulators."""
    return _without_control(value, "\n\r\t")


def _without_control(value: Any, allowed: str) -> str | None:
    if not isinstance(value, str):
        return None
    if not value.isprintable():
        others = (character for character in value if character not in allowed)
        if any(unicodedata.category(character) in _CONTROL for character in others):
            return None
    return unicodedata.normalize("NFC", value)


_READERS: Mapping[str, Callable[[Any], Cell | None]] = {
    "number": _number,
    "integer": _integer,
    "boolean": _boolean,
    "timestamp": seconds_of,
    "category": _category,
    "text": _text,
}
