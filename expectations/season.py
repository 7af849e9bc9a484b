"""Which batches are of the same season as a window of predictions. Pure."""

from collections.abc import Mapping

_DAY = 86400.0

Span = tuple[float, float]
"""From when to when, in seconds since 1970."""


def of_the_same(spans: Mapping[str, Span], window: Span, days: float) -> list[str]:
    """The batches that were captured at the same part of a season of so many days, such as a week or a year."""
    return [batch for batch, span in spans.items() if _meet(span, window, days * _DAY)]


def _meet(one: Span, other: Span, length: float) -> bool:
    """Whether two spans overlap once each is moved by whole seasons."""
    first, second = (span[1] - span[0] for span in (one, other))
    return (other[0] - one[0]) % length <= first or (one[0] - other[0]) % length <= second
