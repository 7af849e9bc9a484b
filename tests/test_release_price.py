"""What the run and the card say of a release's cost, for each of its cases."""

from __future__ import annotations

import pytest

from flows.release_price import in_words
from ratchet.recipe import ReleasePlan
from releases.price import Traffic, price


@pytest.mark.parametrize(
    ("traffic", "words"),
    [
        (Traffic(2.5, 30, (0.08, 0.12), 0.9), "90% get a label within 30 s, and the champion is wrong in 8.0 % to 12"),
        (Traffic(1, 30, (0.08, 0.12)), "as long as callers get one answer a second, 100% get a label"),
        (Traffic(1, None, (0.08, 0.12)), "all of them may be wrong. No label comes in time to end it."),
    ],
)
def test_the_sentence_says_what_it_supposes(traffic: Traffic, words: str) -> None:
    bound = price(ReleasePlan(), traffic)
    sentence = in_words(bound, traffic)
    assert words in sentence
    assert "until its bake time ends" in sentence
    assert f"{bound.exposed:,}" in sentence
    assert ("beyond the champion's" in sentence) == bound.by_labels
