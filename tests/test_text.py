"""Texts of any script: the same text is the same input, whoever wrote the file, and its words are its words."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet import kinds
from ratchet.evaluation import leakage
from ratchet.kinds.text import evaluation, records
from ratchet.kinds.text.contract import TextContract
from ratchet.tasks.classification.answers import Classification
from ratchet.tokenizer import MAIL, NUMBER, TOKENIZERS, URL, tokens

TEXT = TextContract(max_characters=400, max_tokens=16)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("我喜欢电影。", ["我", "喜", "欢", "电", "影", "。"]),
        ("東京タワー abc", ["東", "京", "タ", "ワ", "ー", "abc"]),
        ("हिन्दी में वाक्य", ["हिन्दी", "में", "वाक्य"]),
        ("தமிழ் மொழி", ["தமிழ்", "மொழி"]),
        ("می‌خواهم بروم", ["می‌خواهم", "بروم"]),
        ("한국어 문장", ["한국어", "문장"]),
        ("ฉันรัก", ["ฉั", "น", "รั", "ก"]),
        ("👨‍👩‍👧 ❤️!", ["👨‍👩‍👧", "❤️", "!"]),
        ("de\u00admo re\u200bad \u200ex\ufeff", ["demo", "re", "ad", "x"]),
        ("Straße CAFÉ", ["strasse", "café"]),
    ],
)
def test_a_text_of_any_script_is_split_as_its_readers_would(text: str, words: list[str]) -> None:
    assert tokens(text) == words


def test_addresses_and_numbers_have_a_token_in_common() -> None:
    result = tokens("Mail Tom.Smith@corp.example or see http://x.y/tom?id=7, room 12b (www.tom.org) by 2002")
    assert result == ["mail", MAIL, "or", "see", URL, "room", NUMBER, "(", URL, "by", NUMBER]


@given(st.text(max_size=80))
def test_no_token_holds_white_space_so_one_a_line_is_a_vocabulary(text: str) -> None:
    assert not any(token.split() != [token] for token in tokens(text))


@given(st.text(alphabet=st.characters(max_codepoint=127), max_size=80))
def test_ascii_is_split_as_in_0_1_0_so_that_its_records_stay_the_same(text: str) -> None:
    assert TOKENIZERS[1](text, None) == tokens(text)


@given(st.text(min_size=1, max_size=60))
def test_the_form_of_an_accent_in_a_file_makes_no_other_input(text: str) -> None:
    """Files from a Mac have letters and accents apart."""
    apart, together = (unicodedata.normalize(each, text) for each in ("NFD", "NFC"))
    if not together.strip() or any("\ud800" <= c <= "\udfff" or c == "\0" for c in text):
        return
    assert TEXT.encode(apart, "a file") == TEXT.encode(together, "a file")
    assert TEXT.read([apart])[0] == TEXT.read([together])[0]
    digests = {TEXT.digest(each.encode(), None) for each in (apart, together)}
    assert len(digests) == 1


def test_a_folder_from_a_mac_is_the_class_that_the_recipe_names() -> None:
    read = Classification(("cafe\u0301", "other")).read_label
    assert read("caf\u00e9") == 0  # ingest brings each label to this form


def test_a_contract_from_the_file_of_an_older_model_splits_as_that_model_did() -> None:
    stored = TEXT.to_json()
    del stored["tokenizer"]
    assert kinds.of(stored).tokens("में") == ["म", "े", "ं"]  # type: ignore[attr-defined]
    assert kinds.of(TEXT.to_json()).tokens("में") == ["में"]  # type: ignore[attr-defined]


def test_joiners_soft_hyphens_and_emoji_are_no_damage_and_control_characters_are() -> None:
    texts = ["می‌خواهم", "de\u00admo", "👨‍👩‍👧", "a\x07b\ufffd", "a\nb\t"]
    measured = records.statistics(TEXT, [{"text": text} for text in texts])
    assert measured["unprintable"] == [0, 0, 0, 0.5, 0]


def test_the_share_of_unknown_tokens_is_a_check_of_its_own() -> None:
    known = np.array(["我 喜 欢"] * 5, object)
    vocabulary = TEXT.learn_vocabulary(known)
    what, share = evaluation.unseen(TEXT, np.array(["我 喜 电 影"], object), vocabulary)
    assert (what, share) == ("tokens", 0.5)
    assert leakage.unseen(what, share, 0.5).outcome == "passed"
    refused = leakage.unseen(what, 0.61, 0.5)
    assert refused.outcome == "failed"
    assert "61.0% of the benchmark's tokens are new to the model" in refused.detail
