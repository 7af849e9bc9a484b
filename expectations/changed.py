"""What changed in the inputs and answers of what serves, compared with what it was trained on. Pure.

A window of predictions is compared once, when it is full, so that looking often does not multiply false alarms: of
windows of unchanged data at most one in a hundred has a column that is said to have drifted.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from expectations.drift import FALSE_ALARMS, MIN_ROWS, NOTABLE, Summary, drift

_UNSEEN = 0.01
"""The share of a window with categories that training has not seen, from which on that is said."""
_SHOWN = 3


@dataclass(frozen=True)
class Change:
    column: str
    what: str
    """In a sentence."""
    sure: str


def changes(trained: Sequence[Summary], window: Summary) -> tuple[Change, ...]:
    """What a window of predictions has otherwise than the batches that the model was trained on.

    One finding for each column: it holds one value alone, categories that are new, or it drifted.
    """
    by_column = {change.column: change for change in (*_drifted(trained, window), *_unseen(trained, window))}
    by_column |= {change.column: change for change in _constant(trained, window)}
    return tuple(by_column.values())


def _drifted(trained: Sequence[Summary], window: Summary) -> Iterator[Change]:
    for each in drift(trained, [window]):
        if each.drifted and each.p_value is not None:
            sure = f"p = {each.p_value:.2g}, corrected for all columns, at most {FALSE_ALARMS:.0%} by chance"
            yield Change(each.column, f"{each.column} has drifted (index {each.index:.2f}, from {NOTABLE})", sure)


def _constant(trained: Sequence[Summary], window: Summary) -> Iterator[Change]:
    if window.rows < MIN_ROWS:
        return
    for name, values in window.quantiles.items():
        if values[0] == values[-1] and any(_varies(summary, name) for summary in trained):
            what = f"{name} is {values[0]:g} in every request: is its source broken?"
            yield Change(name, what, f"all of {window.rows} predictions")
    for name, counts in window.categories.items():
        if len(counts) == 1 and any(_varies(summary, name) for summary in trained):
            (value,) = counts
            what = f"{name} is {value!r} in every request: is its source broken?"
            yield Change(name, what, f"all of {window.rows} predictions")


def _varies(summary: Summary, name: str) -> bool:
    quantiles = summary.quantiles.get(name, (0.0,))
    return quantiles[0] != quantiles[-1] or len(summary.categories.get(name, ())) > 1


def _unseen(trained: Sequence[Summary], window: Summary) -> Iterator[Change]:
    for name, counts in window.categories.items():
        known = {value for summary in trained for value in summary.categories.get(name, ())}
        new = {value: count for value, count in counts.items() if value not in known}
        share = sum(new.values()) / max(window.rows, 1)
        if known and share >= _UNSEEN:
            yield Change(
                name, f"{name} has values that training has not seen: {_most(new)}", f"{share:.1%} of the requests"
            )


def _most(counts: Mapping[str, int]) -> str:
    largest = sorted(counts, key=lambda value: (-counts[value], value))[:_SHOWN]
    more = f" and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else ""
    return ", ".join(map(repr, largest)) + more
