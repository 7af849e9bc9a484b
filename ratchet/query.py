"""Where a recipe's new records are rows of a database."""

import re
from dataclasses import dataclass
from datetime import date, datetime

Mark = int | str | datetime | date
"""A watermark."""


@dataclass(frozen=True)
class Query:
    """Its rows after a watermark are one batch: `ratchet ingest RECIPE --sql`."""

    sql: str
    """Selects the recipe's columns and the watermark, where it is above `:after`."""
    watermark: str
    """A selected column that grows with each new row, as an id or a time of insertion does."""
    setting: str
    """`RATCHET_<SETTING>` has the database's SQLAlchemy URL, which may hold a password. It ends in `_url`."""
    first: Mark = 0
    """`:after` at first: a value below all others, of the type that the database returns for the column."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9_]+_url", self.setting):
            raise ValueError(f"the setting {self.setting!r} does not end in _url")
        if ":after" not in self.sql or not self.watermark:
            raise ValueError("a query selects rows with a watermark above `:after`, and names its column")
        if not isinstance(self.first, Mark) or isinstance(self.first, bool):
            raise ValueError(f"the first watermark {self.first!r} is no integer, text, date or time")

    @property
    def variable(self) -> str:
        return f"RATCHET_{self.setting.upper()}"
