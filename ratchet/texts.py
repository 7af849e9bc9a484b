"""Plain text, cut into tokens by plain Python: the same lines for training and in the bento. Needs only NumPy."""

from __future__ import annotations

import hashlib
import re
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from ratchet.errors import Refusal

_TOKEN = re.compile(
    r"(?P<url>(?:https?://|www\.)\S{1,2000})|(?P<mail>[^\s<>@]{1,64}@[^\s<>@]{1,255})|[^\W_]+|[^\w\s]|_"
)
MAIL, URL, NUMBER = "@mail", "@url", "0"
"""The tokens of every e-mail address, every web address and every word that holds a digit: those name somebody."""
_SHOWN = {MAIL: "someone@example.org", URL: "http://example.org"}
_NEXT = "Send plain text in UTF-8"
NOTHING, UNKNOWN, FIRST = 0, 1, 2
"""Ids of the padding, of a word that is not in the vocabulary, and of the first that is."""


@dataclass(frozen=True)
class TextContract:
    """A text of at most `longest` characters; the model sees its first `length` tokens of at most `words` kinds."""

    longest: int = 16384
    length: int = 256
    words: int = 8000
    seldom: int = 5
    """A word that stands in fewer texts than these is unknown: it tells of a person, not of a class."""
    kind: ClassVar[str] = "text"
    column: ClassVar[str] = "text"
    datatype: ClassVar[str] = "BYTES"
    many: ClassVar[str] = "texts"

    @property
    def shape(self) -> tuple[int, ...]:
        return ()

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, **asdict(self)}

    def describe(self) -> str:
        return f"a plain text of at most {self.longest} characters, of which the first {self.length} tokens are read"

    def hold(self, value: Any, which: str) -> bytes:
        if isinstance(value, bytes):
            try:
                value = value.decode()
            except UnicodeDecodeError as error:
                raise Refusal("the bytes are no UTF-8", which, _NEXT) from error
        return self._checked(value, which).encode()

    def digest(self, data: bytes, at: datetime | None) -> str:
        """Of what the model sees: two that differ in capitals alone are the same."""
        return hashlib.sha256("text:{}".format("\x1f".join(tokens(data.decode(), self.length))).encode()).hexdigest()

    def read(self, values: Any, which: str = "the input") -> np.ndarray:
        """Texts [N] from a list of strings."""
        if not isinstance(values, list | np.ndarray) or not len(values):
            raise Refusal("it is no list of texts, or an empty one", which, "Send [N] strings")
        return _array([self._checked(value, f"{which}[{i}]") for i, value in enumerate(values)])

    def unpack(self, data: bytes, count: int, which: str = "the input") -> np.ndarray:
        """Texts [N], each behind its length in four bytes, little-endian."""
        found: list[str] = []
        at = 0
        while at < len(data) and len(found) < count:
            size = struct.unpack("<I", data[at : at + 4])[0] if at + 4 <= len(data) else len(data)
            if at + 4 + size > len(data):
                raise Refusal("a text ends after the data", which, "Send each behind its length in four bytes")
            found.append(self.hold(data[at + 4 : at + 4 + size], f"{which}[{len(found)}]").decode())
            at += 4 + size
        if len(found) != count or at != len(data):
            raise Refusal(f"there are not exactly {count} texts in it", which, "Send as many as the shape says")
        return _array(found)

    def pack(self, inputs: np.ndarray) -> bytes:
        coded = [str(text).encode() for text in inputs]
        return b"".join(struct.pack("<I", len(part)) + part for part in coded)

    def learn(self, inputs: np.ndarray) -> tuple[str, ...]:
        """The vocabulary: the most frequent words of these texts, the first in the alphabet where two are alike."""
        counts: Counter[str] = Counter()
        for text in inputs:
            counts.update(set(tokens(str(text))))
        common = [(-n, word) for word, n in counts.items() if n >= self.seldom]
        return tuple(word for _, word in sorted(common)[: self.words - FIRST])

    def features(self, inputs: np.ndarray, words: Sequence[str] = ()) -> np.ndarray:
        """Token ids, int32 [N, length]. What is shorter is filled with `NOTHING` in front."""
        known = _index(tuple(words))
        found = np.full((len(inputs), self.length), NOTHING, np.int32)
        for row, text in zip(found, inputs, strict=True):
            ids = [known.get(token, UNKNOWN) for token in tokens(str(text), self.length)]
            row[self.length - len(ids) :] = ids
        return found

    def vary(self, inputs: np.ndarray, chance: np.random.Generator) -> np.ndarray:
        """One word in twenty left out."""
        made = []
        for text in inputs:
            parts = str(text).split(" ")
            kept = [part for part, gone in zip(parts, chance.random(len(parts)) < 0.05, strict=True) if not gone]
            made.append(" ".join(kept) if "".join(kept).strip() else str(text))
        return _array(made)

    def made(self, count: int, chance: np.random.Generator, like: np.ndarray | None = None) -> np.ndarray:
        """Walks from word to word (Shannon 1948), by threes that stand in many of the texts `like`.

        In at least `seldom`, and in one of a hundred: what so many hold is a phrase or a footer.
        """
        known = self.example() if like is None else like
        walks = _walks(known, 1 if like is None else max(self.seldom, len(known) // 100))
        if not walks:  # short texts have no phrase in common, but words
            common = list(self.learn(known)) or ["hello", "world"]
            walks = {(one, two): common for one in common[:40] for two in common[:40]}
        starts = sorted(walks)
        made = []
        for size in chance.integers(min(8, self.length), self.length + 1, size=count):
            words = list(starts[chance.integers(len(starts))])
            while len(words) < size:
                following = walks.get((words[-2], words[-1])) or starts[chance.integers(len(starts))]
                words.append(following[chance.integers(len(following))])
            made.append(" ".join(_SHOWN.get(word, word) for word in words)[: self.longest])
        return _array(made)

    def parts(self, one: np.ndarray, most: int) -> list[tuple[int, ...]]:
        """Runs of the words that the model sees: the first character, and the one behind the last."""
        seen, words = 0, []
        for match in re.finditer(r"\S+", str(one[0])):
            words.append(match.span())
            seen += len(tokens(match.group()))
            if seen >= self.length:
                break
        size = max(1, -(-len(words) // most))
        found = [(words[i][0], words[min(i + size, len(words)) - 1][1]) for i in range(0, len(words), size)]
        return [at for at in found if str(self.without(one, at)[0]).strip()]

    def without(self, one: np.ndarray, at: tuple[int, ...]) -> np.ndarray:
        text = str(one[0])
        return _array([text[: at[0]] + text[at[1] :]])

    def show(self, one: np.ndarray) -> str:
        return str(one[0])

    def example(self) -> np.ndarray:
        return _array(["hello, world"])

    def _checked(self, value: Any, which: str) -> str:
        if not isinstance(value, str):
            raise Refusal(f"it is no text ({type(value).__name__})", which, _NEXT)
        if len(value) > self.longest:
            raise Refusal(f"the text has {len(value)} characters, more than {self.longest}", which, "Send less of it")
        if not value.strip():
            raise Refusal("there is no text in it", which, _NEXT)
        if "\0" in value:
            raise Refusal("the text holds a NUL", which, _NEXT)
        if any("\ud800" <= c <= "\udfff" for c in value):
            raise Refusal("half a surrogate pair is no text", which, _NEXT)
        return str(value)


def tokens(text: str, most: int | None = None) -> list[str]:
    """Words and single marks, case-folded, and what stands for addresses and numbers; no more than `most`."""
    found = []
    for match in _TOKEN.finditer(text.casefold()):
        word = match.group()
        named = MAIL if match["mail"] else URL if match["url"] else NUMBER if any(map(str.isdigit, word)) else word
        found.append(named)
        if len(found) == most:
            break
    return found


def _walks(texts: np.ndarray, seldom: int) -> dict[tuple[str, str], list[str]]:
    """What follows two words, as often as it does, where the three stand in at least so many texts."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for text in texts:
        found = tokens(str(text))
        counts.update(set(zip(found, found[1:], found[2:], strict=False)))
    walks: dict[tuple[str, str], list[str]] = {}
    for (one, two, three), n in sorted(counts.items()):
        if n >= seldom:
            walks.setdefault((one, two), []).extend([three] * n)
    return walks


@lru_cache(maxsize=8)
def _index(words: tuple[str, ...]) -> Mapping[str, int]:
    return {word: i for i, word in enumerate(words, FIRST)}


def _array(texts: Sequence[str]) -> np.ndarray:
    made = np.empty(len(texts), object)
    made[:] = texts
    return made
