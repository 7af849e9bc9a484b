"""A recipe that cannot mean what it says is refused when it is read, with the field and what it may hold."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet import bounds
from ratchet import recipe as recipes
from ratchet.bounds import Between
from ratchet.kinds.image import ImageContract
from ratchet.kinds.series import SeriesContract
from ratchet.kinds.text import TextContract
from ratchet.recipe import Bound, Classification, Criteria, Feed, Range, Recipe, ReleasePlan, Step, Suite, Training
from ratchet.types import from_json, to_json

FASHION, SPAM = recipes.load("fashion-mnist"), recipes.load("spam")


def steps(*each: Any) -> Recipe:
    return replace(FASHION, release_plan=ReleasePlan(steps=each))


WRONG: list[tuple[Callable[[], object], str]] = [
    (lambda: steps(Step(-1)), r"recipe.release_plan.steps\[0\].weight must be at least 0 and at most 100, not -1"),
    (lambda: steps(Step(5), Step(101)), r"steps\[1\].weight must be at least 0 and at most 100, not 101"),
    (lambda: steps(Step(0.5)), "weight must be of the type int, not 0.5"),  # type: ignore[arg-type]
    (lambda: steps(Step("10")), "weight must be of the type int, not '10'"),  # type: ignore[arg-type]
    (lambda: steps(Step(True)), "weight must be of the type int, not True"),
    (lambda: steps(Step(mirror=300)), "mirror must be at least 0 and at most 100, not 300"),
    (lambda: steps(Step(60, 60)), "a step has more than 100 %: 60 % and 60 % mirrored"),
    (lambda: steps(5), r"steps\[0\] must be of the type Step, not 5"),
    (lambda: replace(FASHION, release_plan=ReleasePlan(steps=[Step(5)])), "steps must be of"),  # type: ignore[arg-type]
    (lambda: replace(FASHION, release_plan=ReleasePlan(bake_seconds=math.nan)), "bake_seconds must be a finite"),
    (lambda: replace(FASHION, release_plan=ReleasePlan(max_surge=0)), "max_surge must be at least 1, not 0"),
    (lambda: replace(FASHION, release_plan=ReleasePlan(false_alarm=0.0)), "false_alarm must be above 0 and below 1"),
    (lambda: replace(FASHION, release_plan=ReleasePlan(failed=Bound(0.1, -1))), "failed.margin must be at least 0"),
    (lambda: replace(FASHION, suite=Suite(min_rows=-1)), "suite.min_rows must be at least 0, not -1"),
    (lambda: replace(FASHION, suite=Suite(max_gaps=math.inf)), "suite.max_gaps must be a finite number, not inf"),
    (lambda: replace(FASHION, criteria=Criteria(accuracy=6.7)), "criteria.accuracy must be at least 0 and at most 1"),
    (lambda: replace(FASHION, criteria=Criteria(near_duplicates=-0.1)), "near_duplicates must be at least 0"),
    (lambda: replace(FASHION, criteria=Criteria(latency_ms=0.0)), "latency_ms must be above 0, not 0.0"),
    (lambda: replace(FASHION, criteria=Criteria(invariance={"shift": 80})), r"invariance\['shift'\] must be"),
    (lambda: replace(FASHION, training=Training(learning_rate=-1.0)), "learning_rate must be above 0"),
    (lambda: replace(FASHION, training=Training(epochs=0)), "epochs must be at least 1, not 0"),
    (lambda: replace(FASHION, training=Training(family="vgg")), "no family 'vgg'"),
    (lambda: replace(SPAM, training=Training()), "there is no family 'cnn'"),
    (lambda: replace(FASHION, benchmark=Feed("a", "b", 5, 5)), "a feed stops at 5, before its first record 5"),
    (lambda: replace(FASHION, batches=()), "batches are empty"),
    (lambda: replace(FASHION, search_space={"filters": Range(3, 1)}), "a range must rise"),
    (lambda: replace(FASHION, task=Classification(("a", "a"))), "a name stands twice in classes"),
    (lambda: replace(FASHION, task=Classification(("a", "b\n"))), "does not have 1 to 200 printable characters"),
    (lambda: replace(FASHION, task=Classification("ab")), "classes must be of the type tuple"),
    (lambda: replace(FASHION, purpose=" "), "the purpose is not a printable text of 1 to 2000"),
    (lambda: replace(FASHION, purpose="a\0b"), "the purpose is not a printable text"),
    (lambda: replace(FASHION, task=Classification(("one",))), "there are 1 classes"),
    (lambda: replace(SPAM, suite=Suite(min_class_share=0.6)), "2 classes cannot each have 60% of the rows"),
    (lambda: replace(FASHION, benchmark=Feed("nothing")), "a feed names 'nothing', and the files are: train-images"),
    (lambda: replace(FASHION, data=replace(FASHION.data, files={"a": "zz"})), "the digest of a is not 64 hexa"),
    (lambda: replace(FASHION, data=replace(FASHION.data, files={"../a": "0" * 64})), "no name of a file in a folder"),
    (lambda: replace(FASHION, version=10**40), "version must be of the type int"),
    (lambda: replace(FASHION, search_space={"epochs": ()}), "the search space of epochs is empty"),
    (lambda: replace(FASHION, name="v2"), "the gateway uses the name 'v2' itself"),
    (lambda: replace(FASHION, variants=("int4",)), "there is no variant 'int4'; choose from: fp16, int8"),
    (lambda: replace(FASHION, memory_mb=0), "memory_mb must be at least 1"),
    (lambda: replace(FASHION, contract=ImageContract(28, 28.0)), "width must be of the type int"),  # type: ignore[arg-type]
    (lambda: ImageContract(-1, 28), "at least 1x1 pixels, not -1x28"),
    (lambda: TextContract(max_tokens=0), "sizes of at least 1"),
    (lambda: SeriesContract(low=2.0, high=1.0), "low below high"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "message"), WRONG, ids=[message for _, message in WRONG])
def test_what_a_recipe_cannot_mean_is_refused_when_it_is_read(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def numbers(value: Any, path: str = "") -> list[tuple[str, Between]]:
    """Every field of a dataclass, and of those inside it, whose number has bounds."""
    bounded = []
    for name, hint in get_type_hints(type(value), include_extras=True).items():
        given_value = getattr(value, name)
        if get_origin(hint) is Annotated:
            bounded.append((f"{path}{name}", get_args(hint)[1]))
        elif dataclasses.is_dataclass(given_value) and name != "contract":
            bounded += numbers(given_value, f"{path}{name}.")
    return bounded


def changed(value: Any, path: str, number: Any) -> Any:
    name, _, rest = path.partition(".")
    inner = changed(getattr(value, name), rest, number) if rest else number
    return replace(value, **{name: inner})


@pytest.mark.parametrize("name", ["👨\u200d👩\u200d👧", "می\u200cخواهم", "\u3000", "a\u00a0b", "🤷"])
def test_any_name_that_a_person_can_write_is_taken(name: str) -> None:
    assert replace(FASHION, task=Classification((f"x{name}", "b"))).answers.classes[0].endswith(name)


@pytest.mark.parametrize(("path", "bound"), numbers(FASHION), ids=[path for path, _ in numbers(FASHION)])
@given(number=st.integers(-(10**6), 10**6) | st.floats())
def test_no_number_outside_its_bounds_is_taken_in_any_field(path: str, bound: Between, number: float) -> None:
    if math.isfinite(number) and bound.holds(number):
        return
    with pytest.raises(ValueError, match=path.rpartition(".")[2]):
        changed(FASHION, path, number)


def test_what_was_recorded_before_the_bounds_is_still_read() -> None:
    plan = ReleasePlan(steps=(Step(101),), max_surge=0)
    assert from_json(ReleasePlan, to_json(plan)) == plan
    with pytest.raises(ValueError, match="weight"):
        bounds.check(plan, "plan")
