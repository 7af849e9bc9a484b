"""What an evaluation does with texts: perturbations, slices, near-duplicates, words in front. Pure."""

import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ratchet.evaluation.thirds import thirds
from ratchet.kinds.parts import Perturbation, Slices
from ratchet.kinds.text.contract import PADDING, UNKNOWN, TextContract
from ratchet.tokenizer import tokens

_SAME, _SKETCH, _SHINGLE = 0.8, 64, 4


def _each(change: Callable[[str], str]) -> Perturbation:
    def perturb(texts: np.ndarray) -> np.ndarray:
        changed = np.empty(len(texts), object)
        changed[:] = [change(str(text)) for text in texts]
        return changed

    return perturb


PERTURBATIONS: Mapping[str, Perturbation] = {
    "case": _each(str.upper),
    "spaces": _each(lambda text: text.replace(" ", "  ")),
    "typo": _each(lambda text: text[:9] + text[10:11] + text[9:10] + text[11:]),
    "typos": _each(lambda text: re.sub(r"(\w{3})(\w)(\w)", r"\1\3\2", text)),
    "shortened": _each(lambda text: text[: max(1, len(text) // 2)]),
}
"""Upper `case`, double `spaces`, two letters swapped once (`typo`) or in every long word (`typos`), and `shortened` to
the first half.
"""


def _length(texts: np.ndarray) -> np.ndarray:
    return np.array([len(str(text)) for text in texts], float)


def columns(contract: TextContract, inputs: np.ndarray) -> Mapping[str, np.ndarray]:
    return {}


def unseen(contract: TextContract, texts: np.ndarray, vocabulary: Sequence[str]) -> tuple[str, float]:
    """The share of the tokens that are outside the vocabulary."""
    features = contract.features(texts, vocabulary)
    return "tokens", float((features == UNKNOWN).sum() / max(1, (features != PADDING).sum()))


def slices(contract: TextContract) -> Mapping[str, Slices]:
    return {"length": lambda inputs: thirds(_length(inputs), "length")}


def prefixed(contract: TextContract, words: str, texts: np.ndarray) -> np.ndarray:
    """The texts [N] with `words` in front, cut at the contract's length."""
    return contract.read([f"{words} {text}"[: contract.max_characters] for text in texts])


def near(benchmark: np.ndarray, trained: np.ndarray) -> np.ndarray:
    """Which of the texts [N] share four fifths of their 4-token shingles with one of those trained on [M].

    By the smallest 64 hashes of each (Broder, On the resemblance and containment of documents, 1997).
    """
    known = [_sketch(str(text)) for text in trained]
    holders = defaultdict(list)
    for number, sketch in enumerate(known):
        for hash_ in sketch:
            holders[hash_].append(number)
    return np.array([_is_near(_sketch(str(text)), known, holders) for text in benchmark], bool)


def _sketch(text: str) -> frozenset[int]:
    words = tokens(text, 512)
    shingles = {" ".join(words[i : i + _SHINGLE]) for i in range(max(1, len(words) - _SHINGLE + 1))}
    return frozenset(sorted(zlib.crc32(shingle.encode()) for shingle in shingles)[:_SKETCH])


def _is_near(sketch: frozenset[int], known: Sequence[frozenset[int]], holders: dict[int, list[int]]) -> bool:
    shared = Counter(number for hash_ in sketch for number in holders.get(hash_, ()))
    return any(_resemblance(sketch, known[number]) >= _SAME for number, _ in shared.most_common(5))


def _resemblance(one: frozenset[int], other: frozenset[int]) -> float:
    smallest = sorted(one | other)[:_SKETCH]
    return sum(hash_ in one and hash_ in other for hash_ in smallest) / len(smallest)
