"""Plain texts."""

from ratchet.kinds.text.contract import TextContract, from_json

__all__ = ["TextContract"]
CONTRACT = from_json
SHARED_IN_BENTO = ("tokenizer",)
