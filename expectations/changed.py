"""What changed in the inputs and answers of what serves, compared with what it was trained on. Pure.

A window of predictions is compared once, when it is full, so that looking often does not multiply false alarms: of
windows of unchanged data at most one in a hundred has a column that is said to have drifted.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from expectations.drift import FALSE_ALARMS, MIN_ROWS, MISSING, NOTABLE, Summary, drift

_UNSEEN = 0.01
"""The share of a window with categories that training has not seen, from which on that is said."""
_SHOWN = 3


@dataclass(frozen=True)
class Change:
    column: str
    what: str
    """In a sentence."""
    sure: str
    fault: bool = False
    """Whether the source of the inputs is probably broken."""


def changes(trained: Sequence[Summary], window: Summary, show: bool) -> tuple[Change, ...]:
    """What a window of predictions has otherwise than the batches that the model was trained on.

    One finding for each column: it holds one value alone, categories that are new, or it drifted. Values are named only
    where the recipe may `show` inputs.
    """
    by_column = {change.column: change for change in (*_drifted(trained, window), *_unseen(trained, window, show))}
    by_column |= {change.column: change for change in _constant(trained, window, show)}
    return tuple(by_column.values())


def of_layer(layer: str, p_value: float, served: int, trained: int) -> tuple[Change, ...]:
    """Whether what a layer makes of the inputs has drifted, by a two-sample test of so many."""
    if p_value > FALSE_ALARMS:
        return ()
    sure = f"p = {p_value:.2g} by a kernel two-sample test of {served} and {trained} inputs"
    return (Change(layer, f"what the layer {layer} makes of the inputs has drifted", sure),)


def _drifted(trained: Sequence[Summary], window: Summary) -> Iterator[Change]:
    for each in drift(trained, [window]):
        if each.drifted and each.p_value is not None:
            sure = f"p = {each.p_value:.2g}, corrected for all columns, at most {FALSE_ALARMS:.0%} by chance"
            what = f"{each.column} has drifted (index {each.index:.2f}, from {NOTABLE})"
            yield Change(each.column, what, sure, fault=_is_missing_more(trained, window, each.column))


def _is_missing_more(trained: Sequence[Summary], window: Summary, column: str) -> bool:
    """Whether the change is one of missing values, and more of them."""
    name = column.removesuffix(MISSING)
    if name == column:
        return False
    before = sum(summary.missing.get(name, 0) for summary in trained) / max(sum(s.rows for s in trained), 1)
    return window.missing.get(name, 0) / max(window.rows, 1) > before


def _constant(trained: Sequence[Summary], window: Summary, show: bool) -> Iterator[Change]:
    if window.rows < MIN_ROWS:
        return
    for name, values in window.quantiles.items():
        if values[0] == values[-1] and any(_varies(summary, name) for summary in trained):
            yield _one_value(name, f"{values[0]:g}" if show else "", window)
    for name, counts in window.categories.items():
        if len(counts) == 1 and any(_varies(summary, name) for summary in trained):
            (value,) = counts
            yield _one_value(name, repr(value) if show else "", window)


def _one_value(name: str, value: str, window: Summary) -> Change:
    what = f"{name} is {value or 'the same'} in every request: is its source broken?"
    return Change(name, what, f"all of {window.rows} predictions", fault=True)


def _varies(summary: Summary, name: str) -> bool:
    quantiles = summary.quantiles.get(name, (0.0,))
    return quantiles[0] != quantiles[-1] or len(summary.categories.get(name, ())) > 1


def _unseen(trained: Sequence[Summary], window: Summary, show: bool) -> Iterator[Change]:
    for name, counts in window.categories.items():
        if not all(name in summary.categories for summary in trained):  # it has too many to be kept
            continue
        known = {value for summary in trained for value in summary.categories[name]}
        new = {value: count for value, count in counts.items() if value not in known}
        share = sum(new.values()) / max(window.rows, 1)
        if known and share >= _UNSEEN:
            what = f"{name} has values that training has not seen: {_most(new) if show else len(new)}"
            yield Change(name, what, f"{share:.1%} of the requests")


def _most(counts: Mapping[str, int]) -> str:
    largest = sorted(counts, key=lambda value: (-counts[value], value))[:_SHOWN]
    more = f" and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else ""
    return ", ".join(map(repr, largest)) + more
