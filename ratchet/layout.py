"""How the files of a data set are written, where they do not say so themselves."""

import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Layout:
    """What is empty is found in each file, and reported."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Columns whose name in the files is another one: `{"text": "body"}`."""
    delimiter: str = ""
    """Of CSV files."""
    decimal: str = "."
    """The decimal mark of numbers in CSV files; with a comma, a point separates thousands."""
    encoding: str = ""
    """Of CSV files and JSON lines, by its name in Python."""
    time: str = ""
    """The form of times: a pattern as of Python's `strptime`, such as `%m/%d/%Y %H:%M`."""
    zone: str = ""
    """The IANA name of the zone of times that name none, such as `Europe/Berlin`; UTC if it is empty."""

    def __post_init__(self) -> None:
        if self.decimal not in (".", ","):
            raise ValueError(f"the decimal mark {self.decimal!r} is neither a point nor a comma")
        if len(self.delimiter) > 1:
            raise ValueError(f"the delimiter {self.delimiter!r} is not one character")
        if self.encoding:
            try:
                "".encode(self.encoding)
            except LookupError:
                raise ValueError(f"there is no encoding of texts {self.encoding!r}") from None
        if self.zone:
            try:
                zoneinfo.ZoneInfo(self.zone)
            except (zoneinfo.ZoneInfoNotFoundError, ValueError):
                raise ValueError(f"there is no time zone {self.zone!r}: give a name as Europe/Berlin") from None

    def name(self, column: str) -> str:
        """The name of a column in the files."""
        return self.columns.get(column, column)


DETECTED = Layout()
"""Everything is found in each file."""
