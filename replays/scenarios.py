"""What may become of requests and labels, as a change from a moment on. Pure.

Those of an input stand with its kind. Every change stays within the contract: what breaks it is refused by the
service, and harms no answer.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ratchet.errors import Refusal
from ratchet.kinds import parts
from ratchet.recipe import Recipe
from replays.stream import Stream


@dataclass(frozen=True)
class Scenario:
    name: str
    what: str
    change: Callable[[Recipe, Stream, np.random.Generator], Stream]
    """What the rest of a stream becomes."""
    fault: str = ""
    """Of a version that a person releases when it begins: a name in `replays.faults`."""


def _same(recipe: Recipe, stream: Stream, chance: np.random.Generator) -> Stream:
    return stream


def require_classes(recipe: Recipe, stream: Stream) -> None:
    """Raises Refusal if a record has several labels, or none of a few."""
    if not recipe.answers.classes or stream.targets.ndim != 1:
        what = f"a record has no class by the task {recipe.answers.task}"
        raise Refusal(what, recipe.name, "Choose another scenario")


def _label_shift(recipe: Recipe, stream: Stream, chance: np.random.Generator) -> Stream:
    """Of the more frequent half of the answers only every fourth comes."""
    require_classes(recipe, stream)
    values, counts = np.unique(stream.targets, return_counts=True)
    half = values[np.argsort(-counts, kind="stable")][: (len(values) + 1) // 2]
    frequent = np.isin(stream.targets, half)
    return stream.part(np.flatnonzero(~frequent | (chance.random(len(stream)) < 0.25)))


def _poisoned(recipe: Recipe, stream: Stream, chance: np.random.Generator) -> Stream:
    """Labels that come back are another one's, in two of five cases; what is true stays as it is."""
    chosen = chance.random(len(stream)) < 0.4
    others = [stream.labels[at] for at in chance.permutation(len(stream))]
    labels = [other if swap else label for label, other, swap in zip(stream.labels, others, chosen, strict=True)]
    return stream.with_labels(labels)


_OF_ANY = (
    Scenario("none", "nothing changes", _same),
    Scenario("poisoned-labels", "two of five labels that come back are another one's", _poisoned),
    Scenario("slow-model", "a person releases a version that takes 30 ms longer", _same, fault="slow"),
)


_OF_CLASSES = (Scenario("label-shift", "the more frequent half of the answers becomes rare", _label_shift),)


def all_of(recipe: Recipe) -> Mapping[str, Scenario]:
    """Every scenario for the recipe's kind of input, by name."""
    own = [_of_inputs(name, each) for name, each in parts.scenarios(recipe.contract.kind).items()]
    of_task = _OF_CLASSES if recipe.answers.classes else ()
    return {each.name: each for each in (*_OF_ANY, *of_task, *own)}


def _of_inputs(name: str, scenario: parts.Scenario) -> Scenario:
    def change(recipe: Recipe, stream: Stream, chance: np.random.Generator) -> Stream:
        return stream.with_inputs(scenario.change(recipe.contract, stream.inputs, chance))

    return Scenario(name, scenario.what, change)


def of(name: str, recipe: Recipe) -> Scenario:
    """Raises Refusal if there is no such scenario for the recipe's kind of input."""
    known = all_of(recipe)
    if name not in known:
        what = f"there is no scenario {name!r} for the kind {recipe.contract.kind}"
        raise Refusal(what, recipe.name, f"Choose one of: {', '.join(known)}, or `year`")
    return known[name]


def in_a_year(effect: str, recipe: Recipe) -> Scenario:
    """The kind's own scenario of a benign or of a harmful change.

    Raises Refusal if it has none, or a record has no class.
    """
    for name, each in parts.scenarios(recipe.contract.kind).items():
        if each.in_a_year == effect and recipe.answers.classes:
            return _of_inputs(name, each)
    what = f"there is no year for the kind {recipe.contract.kind} and the task {recipe.answers.task}"
    raise Refusal(what, recipe.name, f"Choose one of: {', '.join(all_of(recipe))}")


def applied(scenario: Scenario, recipe: Recipe, stream: Stream, since: float, seed: int) -> Stream:
    """The stream with the change from a moment on, in seconds since 1970."""
    before, after = np.flatnonzero(stream.at < since), np.flatnonzero(stream.at >= since)
    changed = scenario.change(recipe, stream.part(after), np.random.default_rng(seed))
    return stream.part(before).followed_by(changed)
