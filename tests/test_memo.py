"""Run twice, the work is done once; what has no stable fingerprint is refused."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet import memo
from ratchet.errors import Refusal
from ratchet.types import Check

result = Check("a", 1.0, 0.5, "passed", "fine")
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def test_the_work_is_done_once(home: Path) -> None:
    key = memo.key("evaluate", 1, data="x")
    assert memo.run(key, Check, lambda: result) == (result, True)
    assert memo.run(key, Check, lambda: pytest.fail("done twice")) == (result, False)


def test_a_result_that_is_no_longer_valid_is_computed_again(home: Path) -> None:
    key = memo.key("evaluate", 1, data="x")
    memo.run(key, Check, lambda: result)
    assert memo.run(key, Check, lambda: result, valid=lambda _: False)[1]


def test_work_that_was_killed_is_done_again(home: Path) -> None:
    key = memo.key("evaluate", 1, data="x")
    with pytest.raises(KeyboardInterrupt):
        memo.run(key, Check, lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    assert memo.run(key, Check, lambda: result)[1]


def test_changed_source_under_the_same_version_is_warned_about(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    key = memo.key("evaluate", 1, data="x")
    memo.run(key, Check, lambda: result)
    with caplog.at_level(logging.WARNING):
        memo.run(key, Check, lambda: pytest.fail("another"), source=test_the_work_is_done_once)
    assert "changed under the same version" in caplog.text


@pytest.mark.parametrize("value", [Path("/x"), object(), float("nan"), {1: "a"}, {"a": [Path("/x")]}, b"x"])
def test_what_has_no_stable_fingerprint_raises(value: object) -> None:
    with pytest.raises(Refusal, match="stable fingerprint"):
        memo.key("train", 1, data=value)


@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), plain, min_size=1))
def test_a_key_depends_on_every_input_and_on_no_order(inputs: dict) -> None:
    key = memo.key("s", 1, **inputs)
    assert key == memo.key("s", 1, **dict(reversed(inputs.items())))
    assert key != memo.key("s", 2, **inputs)
    first = next(iter(inputs))
    assert key != memo.key("s", 1, **{**inputs, first: [inputs[first], "more"]})
