"""Reads a column of times in one notation: that of most of the first ones, or one that a recipe gives."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from ratchet.errors import Refusal
from ratchet.layout import Layout

ISO, ISO_ZONE = "ISO 8601 without a zone", "ISO 8601 with a zone"
_UNITS = (("seconds", 11, 1), ("milliseconds", 14, 10**3), ("microseconds", 17, 10**6), ("nanoseconds", 20, 10**9))
"""Each with the digits that a number of it has at most, and how many are a second."""
_YEARS = (1900, 2200)
_EARLIEST = 10**8
"""Seconds after 1970 below which a number is no time: it may be a year, or a count."""
_COMPACT = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])([01]\d|2[0-3])[0-5]\d([0-5]\d)?")
"""A date and a time without separators, which could be milliseconds as well."""
_MIDNIGHT = re.compile(r"([T ])24:00(:00(?:\.0+)?)?")


class Times:
    """The notation of a column's times, and how one is read.

    Local times go back by an hour when summer time ends: an hour that comes twice is read as summer time first, and as
    winter time from the first time on that is not later than the one before. An hour that does not exist is refused.
    """

    def __init__(self, first: Iterable[Any], layout: Layout, which: str = "the column") -> None:
        """Raises Refusal if none of the first times has a notation that is known."""
        self._pattern, self._zone = layout.time, ZoneInfo(layout.zone) if layout.zone else UTC
        self._doubled: datetime | None = None
        self._again = False
        known = [value for value in first if value not in (None, "")]
        notations = Counter(notation for value in known if (notation := self._notation(value)[0]))
        if known and not notations:
            what = f"the times, such as {str(known[0])[:40]!r}, have no known notation"
            raise Refusal(what, which, _hint(str(known[0])))
        self.notation = notations.most_common(1)[0][0] if notations else ISO

    def notation_of(self, value: Any) -> str:
        """The notation of a time, which need not be that of the column; empty if it is none."""
        return self._notation(value)[0]

    def describe(self) -> str:
        return f"{self.notation}, taken as {self._zone}" if self.notation == ISO or self._pattern else self.notation

    def read(self, value: Any, which: str) -> datetime:
        """The time in UTC. Raises Refusal if it is of another notation, of another century, or does not exist."""
        notation, moment = self._notation(value)
        shown = repr(str(value)[:40])
        if moment is None:
            raise Refusal(f"the time {shown} is not {self.notation}", which, _hint(str(value)))
        if notation != self.notation:
            raise Refusal(
                f"the time {shown} is {notation}, and the others are {self.notation}", which, "Correct the row"
            )
        if not _YEARS[0] <= moment.year <= _YEARS[1]:
            raise Refusal(f"the time {shown} is of the year {moment.year}", which, "Correct the row")
        return moment.astimezone(UTC) if moment.tzinfo else self._local(moment, which)

    def _notation(self, value: Any) -> tuple[str, datetime | None]:
        try:
            if self._pattern:
                return f"of the notation {self._pattern}", datetime.strptime(str(value).strip(), self._pattern)
            if isinstance(value, date) and not isinstance(value, datetime):
                return ISO, datetime(value.year, value.month, value.day)
            if _COMPACT.fullmatch(str(value).strip()):
                return "", None
            if isinstance(value, int | float) or re.fullmatch(r"\d{9,20}(\.\d*)?", str(value).strip()):
                return _number(Decimal(str(value).strip()))
            moment = value if isinstance(value, datetime) else _iso(str(value).strip())
            return (ISO_ZONE if moment.tzinfo else ISO), moment
        except (ArithmeticError, ValueError, TypeError):
            return "", None

    def _local(self, moment: datetime, which: str) -> datetime:
        early, late = (moment.replace(tzinfo=self._zone, fold=fold) for fold in (0, 1))
        if early.utcoffset() == late.utcoffset():
            self._doubled, self._again = None, False
            return early.astimezone(UTC)
        if early.astimezone(UTC).astimezone(self._zone).replace(tzinfo=None) != moment:
            what = f"the time {moment.isoformat(' ')} does not exist in {self._zone}, where clocks went forward"
            raise Refusal(what, which, "Correct the row")
        self._again = self._again or (self._doubled is not None and moment <= self._doubled)
        self._doubled = moment
        return (late if self._again else early).astimezone(UTC)


def _iso(text: str) -> datetime:
    whole = _MIDNIGHT.sub(lambda match: f"{match[1]}00:00{match[2] or ''}", text)
    return datetime.fromisoformat(whole) + timedelta(days=int(whole != text))


def _number(value: Decimal) -> tuple[str, datetime | None]:
    for unit, digits, scale in _UNITS:
        if value < 10**digits and value >= _EARLIEST * scale:
            microseconds = int(value * 1_000_000 / scale)
            return f"{unit} after 1970", datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    return "", None


def _hint(value: str) -> str:
    if _COMPACT.fullmatch(value):
        return "It may be a date without separators: give its pattern, such as `--time %Y%m%d%H%M`"
    if re.match(r"\d{1,2}[/.]\d{1,2}[/.]\d{2,4}", value):
        order = "%d.%m.%Y" if "." in value else "%m/%d/%Y"
        return f'It is not ISO 8601: give its pattern, such as `Layout(time="{order}")` or `ratchet new --time`'
    return "Give ISO 8601, or seconds after 1970, or a pattern: `Layout(time=...)` or `ratchet new --time`"
