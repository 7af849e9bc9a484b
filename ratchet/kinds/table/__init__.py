"""Tables: rows of named columns."""

from ratchet.kinds.table.column import Column
from ratchet.kinds.table.contract import TableContract

__all__ = ["Column", "TableContract"]
CONTRACT = TableContract
ALSO_IN_BENTO = ("column",)
SHARED_IN_BENTO = ("tokenizer",)
