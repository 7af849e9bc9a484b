"""Where a benchmark writes its result: a section of a page of the docs, between two marks."""

import platform
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from ratchet.errors import Refusal
from ratchet.settings import ROOT

DOC = ROOT / "docs" / "benchmarks.md"
_BEGIN, _END = "<!-- make {} -->\n", "<!-- end -->\n"


def write(command: str, content: Sequence[str], doc: Path = DOC) -> None:
    """Puts the lines into the section of this command, in place of those of the last run.

    Raises Refusal if the page has no such section.
    """
    page, begin = doc.read_text(encoding="utf-8"), _BEGIN.format(command)
    head, marker, rest = page.partition(begin)
    if not marker:
        raise Refusal(f"there is no line {begin.strip()!r}", doc, "Put it there, with <!-- end --> below it")
    doc.write_text(f"{head}{begin}" + "\n".join([*content, ""]) + rest[rest.index(_END) :], encoding="utf-8")


def machine() -> str:
    """Of the run, for people who compare figures."""
    versions = f"Python {platform.python_version()}, Linux {platform.release()}"
    return f"{time.strftime('%Y-%m-%d')}, {psutil.cpu_count()} cores, {versions}"


def target(what: str, value: float, most: float) -> str:
    """A figure beside what was wanted; it says where it falls short."""
    return f"- {what}: {value:,.2f}{'' if value <= most else ' (short)'}; at most {most:,g} was wanted"
