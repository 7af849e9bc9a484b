"""What may become of requests and labels, as a change from a moment on. Pure.

Every change stays within the contract: what breaks it is refused at the door and harms no answer.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ratchet.contract import Contract
from ratchet.errors import Refusal
from ratchet.kinds.table.column import Column
from ratchet.recipe import Recipe
from replays.stream import Stream

Change = Callable[[Recipe, Stream, np.random.Generator], Stream]
"""What the rest of a stream becomes."""


@dataclass(frozen=True)
class Scenario:
    name: str
    kind: str
    """The kind of input that it is for; empty for any."""
    what: str
    change: Change


def _same(recipe: Recipe, stream: Stream, chance: np.random.Generator) -> Stream:
    return stream


def _of_images(change: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Change:
    """A change of images [N, ...] of 0..255, as numbers."""

    def apply(recipe: Recipe, stream: Stream, chance: np.random.Generator) -> Stream:
        changed = np.clip(change(stream.inputs.astype(np.float32), chance), 0, 255)
        return stream.with_inputs(changed.astype(stream.inputs.dtype))

    return apply


def _darker(images: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """Each a little otherwise: what is the same in every request looks like a broken source."""
    factors = chance.uniform(0.1, 0.2, len(images)).reshape(-1, *[1] * (images.ndim - 1))
    return images * factors


def _rotated(images: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    return np.rot90(images, axes=(1, 2))


def _noisy(images: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    return images + chance.normal(0.0, 60.0, images.shape)


def _new_camera(images: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """A little less light and contrast."""
    return 10 + images * 0.85


def _of_column(
    suits: Callable[[Column], bool], change: Callable[[Column, np.ndarray, np.random.Generator], np.ndarray]
) -> Change:
    """A change of the values [N] of the first column that suits."""

    def apply(recipe: Recipe, stream: Stream, chance: np.random.Generator) -> Stream:
        column = next(filter(suits, _features(recipe.contract)), None)
        if column is None:
            raise Refusal("no column of the table can change so", recipe.name, "Choose another scenario")
        changed = stream.inputs.copy()
        changed[column.name] = change(column, changed[column.name], chance)
        return stream.with_inputs(changed)

    return apply


def _features(contract: Contract) -> tuple[Column, ...]:
    columns: tuple[Column, ...] = contract.feature_columns  # type: ignore[attr-defined]
    return columns


def _missing(column: Column, values: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    return np.full(len(values), column.nothing, values.dtype)


def _other_unit(column: Column, values: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """Miles instead of kilometres."""
    return np.maximum(values / 1.609344, -np.inf if column.low is None else column.low)


def _new_category(column: Column, values: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """Every third row has one that nobody has seen."""
    return np.where(chance.random(len(values)) < 1 / 3, "ZZ"[: column.length], values)


def _shock(column: Column, values: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    return np.minimum(values * 1.5, np.inf if column.high is None else column.high)


def _is_measured(column: Column) -> bool:
    return column.type == "number" and (column.low is None or column.low >= 0)


def _label_shift(recipe: Recipe, stream: Stream, chance: np.random.Generator) -> Stream:
    """Of the most frequent answer only every fourth comes."""
    values, counts = np.unique(stream.targets, return_counts=True)
    frequent = stream.targets == values[counts.argmax()]
    return stream.part(np.flatnonzero(~frequent | (chance.random(len(stream)) < 0.25)))


def _poisoned(recipe: Recipe, stream: Stream, chance: np.random.Generator) -> Stream:
    """Labels that come back are another one's, in two of five cases; what is true stays as it is."""
    chosen = chance.random(len(stream)) < 0.4
    others = [stream.labels[at] for at in chance.permutation(len(stream))]
    labels = [other if swap else label for label, other, swap in zip(stream.labels, others, chosen, strict=True)]
    return stream.with_labels(labels)


ALL = {
    each.name: each
    for each in (
        Scenario("none", "", "nothing changes", _same),
        Scenario("darker", "image", "images with a tenth to a fifth of the light", _of_images(_darker)),
        Scenario("rotated", "image", "images that lie on their side", _of_images(_rotated)),
        Scenario("noisy", "image", "images with much noise", _of_images(_noisy)),
        Scenario("new-camera", "image", "images with a little less contrast", _of_images(_new_camera)),
        Scenario("missing-column", "table", "a column without any value",
                 _of_column(lambda column: column.missing > 0, _missing)),
        Scenario("unit-change", "table", "a column in miles instead of kilometres",
                 _of_column(_is_measured, _other_unit)),
        Scenario("new-category", "table", "a category that nobody has seen in every third row",
                 _of_column(lambda column: column.is_category and not column.values, _new_category)),
        Scenario("price-shock", "table", "a number that rises by half", _of_column(_is_measured, _shock)),
        Scenario("label-shift", "", "the most frequent answer becomes rare", _label_shift),
        Scenario("poisoned-labels", "", "two of five labels that come back are another one's", _poisoned),
    )
}  # fmt: skip


def of(name: str, recipe: Recipe) -> Scenario:
    """Raises Refusal if there is no such scenario for the recipe's kind of input."""
    kind = recipe.contract.kind
    suitable = [each.name for each in ALL.values() if each.kind in ("", kind)]
    if name not in suitable:
        raise Refusal(f"there is no scenario {name!r} for the kind {kind}", recipe.name,
                      f"Choose one of: {', '.join(suitable)}")  # fmt: skip
    return ALL[name]


def applied(scenario: Scenario, recipe: Recipe, stream: Stream, since: float, seed: int) -> Stream:
    """The stream with the change from a moment on, in seconds since 1970."""
    after = np.flatnonzero(stream.at >= since)
    before = np.flatnonzero(stream.at < since)
    changed = scenario.change(recipe, stream.part(after), np.random.default_rng(seed))
    return stream.part(before).followed_by(changed)
