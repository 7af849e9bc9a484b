"""What changed in the inputs and answers of what serves, compared with what it was trained on. Pure.

A window of predictions is compared once, when it is full, so that looking often does not multiply false alarms: of
windows of unchanged data at most one in a hundred has a column that is said to have drifted, and one in a thousand each
a column that is said to hold one value alone, or values that are new.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from expectations.drift import FALSE_ALARMS, MIN_ROWS, MISSING, NOTABLE, Summary, category, drift

_UNSEEN = 0.01
"""The share of a window with categories that training has not seen, from which on that is said."""
_RARE = 0.001
"""The share of windows of unchanged data in which any column may be said to hold one value, or new ones."""
_FLOOD = 0.25
"""The share of a window by which more values are missing than in training, from which on it is no weather."""
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
    trained = [_without_others(summary, window) for summary in trained]
    by_column = {change.column: change for change in (*_drifted(trained, window), *_unseen(trained, window, show))}
    by_column |= {change.column: change for change in _constant(trained, window, show)}
    return tuple(by_column.values())


def _without_others(summary: Summary, window: Summary) -> Summary:
    """Without the columns that a window has not: what is known of a record later is not sent with a request."""
    own = {*window.quantiles, *window.categories, *window.missing}
    quantiles = {name: values for name, values in summary.quantiles.items() if name in own}
    categories = {name: counts for name, counts in summary.categories.items() if name in own}
    missing = {name: count for name, count in summary.missing.items() if name in own}
    return replace(summary, quantiles=quantiles, categories=categories, missing=missing)


def of_layer(layer: str, p_value: float, served: int, trained: int) -> tuple[Change, ...]:
    """Whether what a layer makes of the inputs has drifted, by a two-sample test of so many."""
    if p_value > FALSE_ALARMS:
        return ()
    sure = f"p = {p_value:.2g} by a kernel two-sample test of {served} and {trained} inputs"
    return (Change(layer, f"what the layer {layer} makes of the inputs has drifted", sure),)


def unusual(trained: Sequence[Summary], measured: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """The share [N] of what was measured of each input that lies outside of what the batches of training have."""
    counts = [sum(_is_unusual(trained, name, value) for name, value in each.items()) for each in measured]
    return np.array([count / max(len(each), 1) for count, each in zip(counts, measured, strict=True)])


def _is_unusual(trained: Sequence[Summary], name: str, value: Any) -> bool:
    quantiles = [summary.quantiles[name] for summary in trained if name in summary.quantiles]
    if quantiles and isinstance(value, int | float):
        return not min(each[0] for each in quantiles) <= value <= max(each[-1] for each in quantiles)
    known = [summary.categories[name] for summary in trained if name in summary.categories]
    return bool(known) and value is not None and not any(category(value) in each for each in known)


def _drifted(trained: Sequence[Summary], window: Summary) -> Iterator[Change]:
    for each in drift(trained, [window]):
        if each.drifted and each.p_value is not None:
            sure = f"p = {each.p_value:.2g}, corrected for all columns, at most {FALSE_ALARMS:.0%} by chance"
            what = f"{each.column} has drifted (index {each.index:.2f}, from {NOTABLE})"
            yield Change(each.column, what, sure, fault=_is_flood(trained, window, each.column))


def _is_flood(trained: Sequence[Summary], window: Summary, column: str) -> bool:
    """Whether the change is one of missing values, of which there are so many more that a source may be broken."""
    name = column.removesuffix(MISSING)
    if name == column:
        return False
    before = sum(summary.missing.get(name, 0) for summary in trained) / max(sum(s.rows for s in trained), 1)
    return window.missing.get(name, 0) / max(window.rows, 1) > before + _FLOOD


def _constant(trained: Sequence[Summary], window: Summary, show: bool) -> Iterator[Change]:
    """Columns with one value alone, where that is no chance: one that is nearly always there fills many a window."""
    if window.rows < MIN_ROWS:
        return
    constant = {name: f"{values[0]:g}" for name, values in window.quantiles.items() if values[0] == values[-1]}
    shares = {name: [_share_of_number(summary, name, window.quantiles[name][0]) for summary in trained]
              for name in constant}  # fmt: skip
    for name, counts in window.categories.items():
        if len(counts) == 1:
            (value,) = counts
            constant[name] = repr(value)
            shares[name] = [_share_of_category(summary, name, value) for summary in trained]
    columns = max(1, len(window.quantiles) + len(window.categories))
    for name, value in constant.items():
        filled = window.rows - window.missing.get(name, 0)
        if any(_varies(summary, name) for summary in trained) and max(shares[name]) ** filled * columns <= _RARE:
            yield _one_value(name, value if show else "", window)


def _share_of_number(summary: Summary, name: str, value: float) -> float:
    """The share of a number in a batch, at most: a percentile that it fills, and its neighbours, may be full of it."""
    quantiles = summary.quantiles.get(name, ())
    return min(1.0, (sum(each == value for each in quantiles) + 1) / max(len(quantiles), 1))


def _share_of_category(summary: Summary, name: str, value: str) -> float:
    """The share of a category in a batch, with the uncertainty of its count."""
    count = summary.categories.get(name, {}).get(value, 0)
    total = max(1, summary.rows - summary.missing.get(name, 0))
    return min(1.0, (count + 2 * math.sqrt(min(count, total - count) + 1) + 1) / total)


def _one_value(name: str, value: str, window: Summary) -> Change:
    what = f"{name} is {value or 'the same'} in every request: is its source broken?"
    return Change(name, what, f"all of {window.rows} predictions", fault=True)


def _varies(summary: Summary, name: str) -> bool:
    quantiles = summary.quantiles.get(name, (0.0,))
    return quantiles[0] != quantiles[-1] or len(summary.categories.get(name, ())) > 1


def _unseen(trained: Sequence[Summary], window: Summary, show: bool) -> Iterator[Change]:
    """Columns with more new categories than the rare ones of training let expect (Good and Turing, 1953)."""
    from scipy.stats import binom

    columns = max(1, len(window.categories))
    for name, counts in window.categories.items():
        if not all(name in summary.categories for summary in trained):  # it has too many to be kept
            continue
        known = Counter[str]()
        for summary in trained:
            known.update(summary.categories[name])
        new = {value: count for value, count in counts.items() if value not in known}
        total, unseen = sum(counts.values()), sum(new.values())
        if not known or unseen < _UNSEEN * max(window.rows, 1):
            continue
        once = sum(count == 1 for count in known.values())
        expected = min(1.0, (once + 3 * math.sqrt(once + 1) + 1) / known.total())
        if binom.sf(unseen - 1, total, expected) * columns <= _RARE:
            which = f": {_most(new)}" if show else f", {len(new)} different ones"
            what = f"{name} has values that training has not seen{which}"
            yield Change(name, what, f"{unseen / max(window.rows, 1):.1%} of the requests")


def _most(counts: Mapping[str, int]) -> str:
    largest = sorted(counts, key=lambda value: (-counts[value], value))[:_SHOWN]
    more = f" and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else ""
    return ", ".join(map(repr, largest)) + more
