"""Splits a text of any script into tokens, the same code for training and in the bento. Needs no library.

A word is a run of letters with their combining marks and joiners, as in Unicode's word boundaries (UAX 29). Han, kana
and the scripts of South-East Asia are written without spaces: there each letter is a token, as in BERT's tokenizer.
"""

import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache

MAIL, URL, NUMBER = "@mail", "@url", "0"
"""The tokens of every e-mail address, every web address and every word with a digit, which identify people."""
_ADDRESSES = r"(?P<url>(?:https?://|www\.)\S{1,2000})|(?P<mail>[^\s<>@]{1,64}@[^\s<>@]{1,255})"
_PATTERN_OF_1 = re.compile(rf"{_ADDRESSES}|[^\W_]+|[^\w\s]|_")
_JOINERS = "\u200c\u200d"
"""Persian and Indic words need them, and emoji of several parts."""
_UNSPACED = (
    (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF),  # Thai, Lao, Burmese, Khmer
    (0x3040, 0x30FF), (0x31F0, 0x31FF), (0xFF66, 0xFF9D),  # kana
    (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF),  # Han
)  # fmt: skip


def normalized(text: str) -> str:
    """Unicode's form NFC: letters and their accents as one character each, whatever system wrote the file."""
    return unicodedata.normalize("NFC", text)


def tokens(text: str, most: int | None = None) -> list[str]:
    """Words and symbols, case-folded, with placeholders for addresses and numbers; at most `most`."""
    folded = normalized(text.casefold())
    if not folded.isascii():
        folded = folded.translate(_invisible())
    return _matches(_pattern(), folded, most)


def _tokens_of_1(text: str, most: int | None = None) -> list[str]:
    return _matches(_PATTERN_OF_1, text.casefold(), most)


VERSION = 2
TOKENIZERS: Mapping[int, Callable[[str, int | None], list[str]]] = {1: _tokens_of_1, VERSION: tokens}
"""By version: a model is compared with its own, also if it was trained by an older one."""


def _matches(pattern: re.Pattern[str], text: str, most: int | None) -> list[str]:
    result = []
    for match in pattern.finditer(text):
        if match["mail"]:
            token = MAIL
        elif match["url"]:
            token = URL
        else:
            token = NUMBER if any(map(str.isdigit, match.group())) else match.group()
        result.append(token)
        if len(result) == most:
            break
    return result


@lru_cache(maxsize=1)
def _invisible() -> dict[int, str]:
    """What no reader sees: soft hyphens and marks of direction go; a zero-width space separates words."""
    formats = (code for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) == "Cf")
    return {code: " " if code == 0x200B else "" for code in formats if chr(code) not in _JOINERS}


@lru_cache(maxsize=1)
def _pattern() -> re.Pattern[str]:
    marks = _ranges(code for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code))[0] == "M")
    unspaced = "".join(f"{chr(low)}-{chr(high)}" for low, high in _UNSPACED)
    mark = f"[{marks}{_JOINERS}]"
    return re.compile(
        rf"{_ADDRESSES}"
        rf"|(?=[^\W\d_])[{unspaced}]{mark}*"
        rf"|[^\W_](?:(?![{unspaced}])[^\W_]|{mark})*"
        rf"|(?:[^\w\s{marks}{_JOINERS}]{mark}*\u200d)*[^\w\s]{mark}*|_"
    )


def _ranges(codes: Iterable[int]) -> str:
    """The inside of a character class."""
    runs: list[list[int]] = []
    for code in codes:
        if runs and code == runs[-1][1] + 1:
            runs[-1][1] = code
        else:
            runs.append([code, code])
    return "".join(re.escape(chr(low)) + "-" + re.escape(chr(high)) for low, high in runs)
