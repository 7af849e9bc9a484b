"""`make bench-replay`: plays scenarios and years on a real stack, and writes what was decided into docs/replay.md.

Each play is run twice if `--twice`, and both must have the same digest of what was decided.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from benchmarks import page
from ratchet.settings import ROOT
from replays import POLICIES, STACK, conclusion, home, options, run, whatif
from replays.options import Options, year_of
from replays.result import PICTURE, Result, read

DOC, IMAGES = ROOT / "docs" / "replay.md", ROOT / "docs" / "images"
_report = partial(print, file=sys.stderr, flush=True)
_IMAGES = Options("fashion-mnist", records=4000, rows=3000, days=30, window=200, causes=("harm",), tolerance=0.1,
                  policies=("never", "loop"))  # fmt: skip
_FLIGHTS = Options("flight-delay", rows=15_000, days=14, label_days=0.2, causes=("harm",), policies=("never", "loop"))
_YEARS = (
    year_of("fashion-mnist"),
    replace(_FLIGHTS, rows=40_000, days=7, policies=POLICIES),
    Options("spam", rows=3000, days=14, window=200, causes=("harm",), policies=POLICIES),
)
PLAYS = {
    f"{each.recipe}:{each.scenario}": each
    for each in (
        *(replace(_IMAGES, scenario=name) for name in
          ("none", "darker", "rotated", "noisy", "new-camera", "label-shift", "poisoned-labels", "slow-model")),
        *(replace(_FLIGHTS, scenario=name) for name in
          ("missing-column", "unit-change", "new-category", "price-shock")),
        *_YEARS,
    )
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help=f"some of: {', '.join(PLAYS)}")
    parser.add_argument("--twice", action="store_true", help="play each twice, and compare the digests")
    parser.add_argument("--write", action="store_true", help="write docs/replay.md and its pictures")
    parser.add_argument("--offline", default="", help="compare these policies alone, beside what was played before")
    parser.add_argument("--here", action="store_true", help="play one in this process; used by this command itself")
    arguments = parser.parse_args()
    names = arguments.only.split(",") if arguments.only else list(PLAYS)
    if arguments.here:
        run.on_a_stack(PLAYS[names[0]], _report)
        return
    if arguments.twice and arguments.offline:
        parser.error("--twice is for stacks, and --offline has none")
    for name in names:
        first = _compare(name, arguments.offline) if arguments.offline else _play(name)
        if not first.replay:
            raise SystemExit(f"{name} was not played yet: leave --offline out")
        result = _play(name) if arguments.twice else first
        lines = list(_lines(name, result))
        print("\n".join(lines), flush=True)
        if arguments.write:
            _write(name, lines, (result.folder / PICTURE).read_bytes())


def _play(name: str) -> Result:
    """In a process of its own: Prefect's settings are those of a process's first stack."""
    subprocess.run([sys.executable, "-m", "benchmarks.replay", "--only", name, "--here"], check=True)
    options = PLAYS[name]
    return read(home.folder(options.recipe) / options.scenario)


def _compare(name: str, policies: str) -> Result:
    return run.offline(replace(PLAYS[name], policies=tuple(policies.split(","))), _report)


def _lines(name: str, result: Result) -> Iterator[str]:
    replay = result.replay
    assert replay
    yield f"### `{name}`"
    yield ""
    yield f"With {options.given(PLAYS[name])}:"
    yield ""
    for sentence in conclusion.sentences(replay):
        yield f"- {sentence}".replace(f"{result.folder.parents[3]}/", "")
    yield ""
    yield "| policy | answers | wrong, or loss | retrainings | of these released | training, CPU s |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for row in whatif.rows(replay, result.outcomes):
        title, what = (f"**{row.name}**", " s, whole runs") if row.name == STACK else (row.name, "")
        counts = f"{row.retrainings} | {row.released} | {row.seconds:,.0f}{what}"
        yield f"| {title} | {row.answers:,} | {row.wrong:,.0f} | {counts} |"
    yield ""
    again = {"": "", replay.digest: ", and the same when it was played before"}
    other = f", and `{result.before[:16]}` when it was played before"
    yield f"digest `{replay.digest[:16]}`{again.get(result.before, other)}"


def _write(name: str, lines: list[str], picture: bytes) -> None:
    image = f"replay-{name.replace(':', '-')}.png"
    (IMAGES / image).write_bytes(picture)
    page.write(f"bench-replay {name}", [*lines, "", f"![{name}](images/{image})"], DOC)


if __name__ == "__main__":
    main()
