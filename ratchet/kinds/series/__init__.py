"""Series: one number per hour, or per another step."""

from ratchet.kinds.series.contract import SeriesContract

__all__ = ["SeriesContract"]
CONTRACT = SeriesContract
ALSO_IN_BENTO = ("grid",)
