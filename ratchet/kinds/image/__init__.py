"""Grey images of one size."""

from ratchet.kinds.image.contract import ImageContract

__all__ = ["ImageContract"]
CONTRACT = ImageContract
