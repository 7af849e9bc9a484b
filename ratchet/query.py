"""Where a recipe's new records are rows of a database."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Query:
    """Its rows after a watermark are one batch: `ratchet ingest RECIPE --sql`."""

    sql: str
    """Selects the recipe's columns; `:after` is the largest watermark that has landed, or NULL before the first."""
    watermark: str
    """A selected column that grows with each new row, as an id or a time of insertion does."""
    setting: str
    """`RATCHET_<SETTING>` has the database's SQLAlchemy URL, which may hold a password. It ends in `_url`."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9_]+_url", self.setting):
            raise ValueError(f"the setting {self.setting!r} does not end in _url")
        if not self.sql.strip() or not self.watermark:
            raise ValueError("a query needs its sql and a watermark")

    @property
    def variable(self) -> str:
        return f"RATCHET_{self.setting.upper()}"
