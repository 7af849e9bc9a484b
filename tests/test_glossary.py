"""One term for each thing: no word that the glossary retired is left in a name, a message or a document."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

_LISTED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
SOURCES = [ROOT / name for name in _LISTED if name.endswith(".py")]
PAGES = [ROOT / name for name in _LISTED if name.endswith((".md", ".html", ".yaml"))]
ALLOWED = {"commands/__init__.py": {"dossier"}, "tests/test_loop.py": {"dossier"}}
"""The alias of `ratchet card`, and its test."""


def retired() -> tuple[set[str], set[str]]:
    """The words in the last column of the glossary: those that are retired everywhere, and those as names."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    table = page.partition("## Glossary")[2].partition("\n## ")[0]
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| ")]
    cells = [row[4].partition("names:") for row in rows]
    words, names = ({word for cell in cells for word in re.findall("`([^`]+)`", cell[i])} for i in (0, 2))
    return words, words | names


WORDS, NAMES = retired()


def texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every string with its line: messages, docstrings and names of checks."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every name that the source gives to something."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield node.lineno, name
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()):
                yield node.lineno, name


def words_of(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text.lower()))


def test_the_glossary_names_what_it_retired() -> None:
    assert {"arm", "dossier", "verdict", "judge", "shrink", "shelf", "door", "registrar"} <= WORDS
    assert {"told", "asked", "found", "made"} <= NAMES


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_retired_word_is_left_in_the_source(path: Path) -> None:
    name = str(path.relative_to(ROOT))
    if name == "tests/test_glossary.py":
        return
    tree, allowed = ast.parse(path.read_text()), ALLOWED.get(name, set())
    left = [f"line {line}: {text[:80]!r}" for line, text in texts(tree) if is_retired(text, allowed)]
    for line, text in names(tree):
        rejected = WORDS if text.startswith("test_") else NAMES  # a test's name is a sentence
        left += [f"line {line}: the name {text}"] if words_of(text) & rejected - allowed else []
    assert left == []
    assert not words_of(path.stem) & NAMES


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_retired_word_is_left_in_the_documents(path: Path) -> None:
    text = path.read_text()
    if path.name == "architecture.md":
        text = text.partition("## Glossary")[0] + text.partition("## Three sources")[2]
    lines = enumerate(text.splitlines(), 1)
    assert [f"line {number}: {line[:80]}" for number, line in lines if is_retired(line, set())] == []


def is_retired(text: str, allowed: set[str]) -> bool:
    phrases = {word for word in WORDS if " " in word}
    return bool(words_of(text) & WORDS - allowed) or any(phrase in text.lower() for phrase in phrases)
