"""The lock file: the locked versions, and its digest."""

import functools
import subprocess
import sys
from collections.abc import Iterable

from ratchet.errors import Refusal
from ratchet.files import sha256
from ratchet.settings import ROOT


@functools.cache
def requirements(group: str) -> str:
    """The locked versions of a dependency group, one per line, without hashes. Raises Refusal if uv fails."""
    flags = ("--frozen", "--no-hashes", "--no-emit-project", "--no-annotate", "--no-header", "--quiet", "--offline")
    command = [sys.executable, "-m", "uv", "export", *flags, "--only-group", group, "--project", str(ROOT)]
    process = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if process.returncode:
        what = f"the lock could not be exported ({process.stderr.strip()[-200:]})"
        raise Refusal(what, ROOT / "uv.lock", "Run `uv lock`")
    return process.stdout


def pinned(group: str, names: Iterable[str]) -> list[str]:
    """The group's lines for these packages alone."""
    wanted = set(names)
    return [line for line in requirements(group).splitlines() if line.split("==")[0].split("[")[0] in wanted]


def digest() -> str:
    return sha256(ROOT / "uv.lock")


def commit() -> str:
    """The checkout's commit, with `-dirty` if files differ. It is recorded and is never part of a key."""
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
        dirty = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + ("-dirty" if dirty.stdout.strip() else "")
