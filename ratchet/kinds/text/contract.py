"""Plain text. Ingest and endpoint read it by the same rules. Needs only NumPy."""

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

from ratchet import tokenizer
from ratchet.errors import Refusal
from ratchet.tensors import Spec, Tensor, from_texts, single, whole
from ratchet.tokenizer import MAIL, URL, normalized

_SHOWN = {MAIL: "someone@example.org", URL: "http://example.org"}
_NEXT = "Send plain text in UTF-8"
_MEASURED = 1000
PADDING, UNKNOWN, FIRST = 0, 1, 2
"""Token ids: the padding, a word outside the vocabulary, and the first word of the vocabulary."""


@dataclass(frozen=True)
class TextContract:
    """A text of at most `max_characters`; the model reads its first `max_tokens` tokens."""

    max_characters: int = 16384
    max_tokens: int = 256
    vocabulary_size: int = 8000
    min_texts: int = 5
    """A word in fewer texts than this is not in the vocabulary: it identifies a person rather than a class."""
    tokenizer: int = tokenizer.VERSION
    """1 is that of 0.1.0, which splits words of many scripts at their marks."""
    kind: ClassVar[str] = "text"
    column: ClassVar[str] = "text"
    datatype: ClassVar[str] = "BYTES"
    json_key: ClassVar[str] = "texts"

    def __post_init__(self) -> None:
        if min(self.max_characters, self.max_tokens, self.min_texts) < 1 or self.vocabulary_size <= FIRST:
            raise ValueError(f"a text contract has sizes of at least 1 and a vocabulary of more than {FIRST}")
        if self.tokenizer not in tokenizer.TOKENIZERS:
            raise ValueError(f"there is no tokenizer {self.tokenizer}; this one is {tokenizer.VERSION}")

    @property
    def shape(self) -> tuple[int, ...]:
        return ()

    def answers(self) -> None:
        """A recipe says."""

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, **asdict(self)}

    def tokens(self, text: str, most: int | None = None) -> list[str]:
        """Words and symbols, case-folded, with placeholders for addresses and numbers; at most `most`."""
        return tokenizer.TOKENIZERS[self.tokenizer](text, most)

    @property
    def same(self) -> str:
        return f"texts whose first {self.max_tokens} tokens are equal but for case, numbers and addresses are one input"

    def describe(self) -> str:
        return f"a plain text of at most {self.max_characters} characters; the first {self.max_tokens} tokens are read"

    def encode(self, value: Any, which: str) -> bytes:
        if isinstance(value, bytes):
            try:
                value = value.decode()
            except UnicodeDecodeError as error:
                raise Refusal("the bytes are not UTF-8", which, _NEXT) from error
        return self._checked(value, which).encode()

    def note(self, value: Any) -> str:
        return ""

    def beside(self, data: bytes) -> str:
        return ""

    def digest(self, data: bytes, at: datetime | None) -> str:
        """Of the tokens that the model reads: two texts that differ in upper case alone are the same input."""
        read = "\x1f".join(self.tokens(data.decode(), self.max_tokens))
        return hashlib.sha256(f"text:{read}".encode()).hexdigest()

    def read(self, values: Any, which: str = "the input") -> np.ndarray:
        """Texts [N] from a list of strings."""
        if not isinstance(values, list | np.ndarray) or not len(values):
            raise Refusal("the value is not a list of texts, or it is empty", which, "Send [N] strings")
        return _array([self._checked(value, f"{which}[{i}]") for i, value in enumerate(values)])

    def unpack(self, data: bytes, count: int, which: str = "the input") -> np.ndarray:
        """Texts [N], each preceded by its length in four bytes, little-endian."""
        texts: list[str] = []
        at = 0
        while at < len(data) and len(texts) < count:
            size = struct.unpack("<I", data[at : at + 4])[0] if at + 4 <= len(data) else len(data)
            if at + 4 + size > len(data):
                raise Refusal("a text ends after the data", which, "Precede each text with its length in four bytes")
            texts.append(self.encode(data[at + 4 : at + 4 + size], f"{which}[{len(texts)}]").decode())
            at += 4 + size
        if len(texts) != count or at != len(data):
            raise Refusal(f"the data does not hold exactly {count} texts", which, "Send as many as the shape says")
        return _array(texts)

    @property
    def tensors(self) -> tuple[Spec, ...]:
        return ((self.kind, self.datatype, self.shape),)

    def from_tensors(self, tensors: Sequence[Tensor], most: int) -> np.ndarray:
        return single(self, tensors, most)

    def to_tensors(self, inputs: np.ndarray) -> list[Tensor]:
        return [whole(self, inputs)]

    def values(self, inputs: np.ndarray) -> list[Any]:
        return inputs.tolist()

    def pack(self, inputs: np.ndarray) -> bytes:
        return from_texts([str(text) for text in inputs])

    @property
    def features_version(self) -> int:
        return self.tokenizer

    def learn_vocabulary(self, inputs: np.ndarray) -> tuple[str, ...]:
        """The most frequent words of these texts; words of equal frequency are in alphabetical order."""
        counts: Counter[str] = Counter()
        for text in inputs:
            counts.update(set(self.tokens(str(text))))
        common = [(-n, word) for word, n in counts.items() if n >= self.min_texts]
        return tuple(word for _, word in sorted(common)[: self.vocabulary_size - FIRST])

    def features(self, inputs: np.ndarray, vocabulary: Sequence[str] = ()) -> np.ndarray:
        """Token ids, int32 [N, max_tokens], padded in front."""
        index = _index(tuple(vocabulary))
        ids = np.full((len(inputs), self.max_tokens), PADDING, np.int32)
        for row, text in zip(ids, inputs, strict=True):
            known = [index.get(token, UNKNOWN) for token in self.tokens(str(text), self.max_tokens)]
            row[self.max_tokens - len(known) :] = known
        return ids

    def categories(self) -> tuple[int, ...]:
        return ()

    def vary(self, inputs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One word in twenty is left out."""
        varied = []
        for text in inputs:
            words = str(text).split(" ")
            kept = [word for word, dropped in zip(words, rng.random(len(words)) < 0.05, strict=True) if not dropped]
            varied.append(" ".join(kept) if "".join(kept).strip() else str(text))
        return _array(varied)

    def synthesize(self, count: int, rng: np.random.Generator, like: np.ndarray | None = None) -> np.ndarray:
        """Random walks over trigrams of the texts `like` (Shannon 1948).

        Only trigrams that occur in at least `min_texts` texts and in one text of a hundred are used: what so many
        texts share is a phrase or a footer.
        """
        sources = self.example() if like is None else like
        trigrams = self._trigrams(sources, 1 if like is None else max(self.min_texts, len(sources) // 100))
        if not trigrams:  # short texts share words, but no phrase
            common = list(self.learn_vocabulary(sources)) or ["hello", "world"]
            trigrams = {(one, two): common for one in common[:40] for two in common[:40]}
        starts = sorted(trigrams)
        texts = []
        sizes = [len(self.tokens(str(text))) for text in sources[:_MEASURED]]  # as long as those, for a fair comparison
        for size in np.clip(rng.choice(sizes, count), 1, self.max_tokens):
            words = list(starts[rng.integers(len(starts))])
            while len(words) < size:
                following = trigrams.get((words[-2], words[-1])) or starts[rng.integers(len(starts))]
                words.append(following[rng.integers(len(following))])
            texts.append(" ".join(_SHOWN.get(word, word) for word in words)[: self.max_characters])
        return _array(texts)

    def _trigrams(self, texts: np.ndarray, min_texts: int) -> dict[tuple[str, str], list[str]]:
        """The words that follow each pair of words, once per text; trigrams of fewer than `min_texts` are left out."""
        counts: Counter[tuple[str, str, str]] = Counter()
        for text in texts:
            words = self.tokens(str(text))
            counts.update(set(zip(words, words[1:], words[2:], strict=False)))
        trigrams: dict[tuple[str, str], list[str]] = {}
        for (one, two, three), n in sorted(counts.items()):
            if n >= min_texts:
                trigrams.setdefault((one, two), []).extend([three] * n)
        return trigrams

    def regions(self, input: np.ndarray, most: int) -> list[tuple[int, ...]]:
        """Runs of the words that the model reads, as start and stop in characters."""
        count, words = 0, []
        for match in re.finditer(r"\S+", str(input[0])):
            words.append(match.span())
            count += len(self.tokens(match.group()))
            if count >= self.max_tokens:
                break
        size = max(1, -(-len(words) // most))
        runs = [words[i : i + size] for i in range(0, len(words), size)]
        regions = [(run[0][0], run[-1][1]) for run in runs]
        return [region for region in regions if str(self.occlude(input, region)[0]).strip()]

    def occlude(self, input: np.ndarray, region: tuple[int, ...]) -> np.ndarray:
        text = str(input[0])
        return _array([text[: region[0]] + text[region[1] :]])

    def quote(self, input: np.ndarray, region: tuple[int, ...]) -> str:
        return str(input[0])[slice(*region)]

    def render(self, input: np.ndarray) -> str:
        return str(input[0])

    def example(self) -> np.ndarray:
        return _array(["hello, world"])

    def _checked(self, value: Any, which: str) -> str:
        if not isinstance(value, str):
            raise Refusal(f"the value is not a text ({type(value).__name__})", which, _NEXT)
        value = normalized(value)
        if len(value) > self.max_characters:
            what = f"the text has {len(value)} characters, more than {self.max_characters}"
            raise Refusal(what, which, "Shorten the text")
        if not value.strip():
            raise Refusal("the text is empty", which, _NEXT)
        if "\0" in value:
            raise Refusal("the text holds a NUL", which, _NEXT)
        if any("\ud800" <= c <= "\udfff" for c in value):
            raise Refusal("the text holds half of a surrogate pair", which, _NEXT)
        return value


@lru_cache(maxsize=8)
def _index(vocabulary: tuple[str, ...]) -> Mapping[str, int]:
    return {word: i for i, word in enumerate(vocabulary, FIRST)}


def _array(texts: Sequence[str]) -> np.ndarray:
    array = np.empty(len(texts), object)
    array[:] = texts
    return array


def from_json(**fields: Any) -> TextContract:
    """The contract from its JSON; one without a tokenizer is of 0.1.0."""
    return TextContract(**{"tokenizer": 1, **fields})
