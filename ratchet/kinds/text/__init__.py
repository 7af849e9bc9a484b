"""Plain texts."""

from ratchet.kinds.text.contract import TextContract

__all__ = ["TextContract"]
CONTRACT = TextContract
