"""`make bench-families`: every family on every recipe's first batch, trained, exported and asked the benchmark."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from models import export, train
from models.candidate import temperature
from models.measure import measured
from models.ready import Ready, ready
from ratchet import recipe as recipes
from ratchet.lake import ingest, quarantine, snapshot
from ratchet.recipe import Recipe, Training, families
from ratchet.settings import ROOT, settings

DOC = ROOT / "docs" / "benchmarks.md"
_BEGIN, _END = "<!-- make bench-families -->\n", "<!-- end -->\n"
_HEAD = """\
| recipe | family | figure on the benchmark | trained in, s | one answer, ms | ONNX, MB | weights |
| --- | --- | --- | --- | --- | --- | --- |
"""


def rows(name: str, scratch: Path) -> Iterator[str]:
    """One line of the table a family that takes this recipe's inputs."""
    recipe = recipes.load(name)
    ingest.land_feed(recipe, recipe.batches[0], "benchmark")
    for batch in quarantine.pending(ingest.lake(name)):
        quarantine.admit_landed(ingest.lake(name), batch, "benchmark")
    taken, (held, _) = snapshot.take(recipe), snapshot.benchmarked(recipe)
    for family in families(recipe.contract.kind):
        asked = recipe.training
        training = asked if family == asked.family else replace(asked, family=family, parameters={})
        yield _row(recipe, training, ready(recipe, training, taken, scratch), held, scratch / name / family)


def _row(recipe: Recipe, training: Training, data: Ready, held: snapshot.Split, folder: Path) -> str:
    """Trained as the loop does it, the temperature in the export."""
    fitted = train.fit(recipe, training, data.train, data.held, folder)
    calmed = temperature(recipe, fitted.model, *data.held)
    out = folder / "out"
    out.mkdir()
    made = export.export(recipe, fitted.model, data.words, data.sides["test"].inputs[:256], out, calmed)
    figure = recipe.answers.figure(held.targets, made.answers(held.inputs))
    took = measured(made).milliseconds
    told = f"{recipe.answers.metric.replace('_', ' ')} {figure:.4f}"
    return (f"| `{recipe.name}` | {training.family} | {told} | {fitted.seconds:.0f} | {took:.2f} | "
            f"{made.path.stat().st_size / 1e6:.2f} | {fitted.model.count_params():,} |")  # fmt: skip


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--recipes", default="", help="Some, separated by commas; all of them otherwise.")
    asked.add_argument("--write", action="store_true", help=f"Put the table into {DOC.relative_to(ROOT)}.")
    options = asked.parse_args()
    names = options.recipes.split(",") if options.recipes else recipes.names()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["RATCHET_HOME"] = f"{scratch}/home"
        settings.cache_clear()
        table = ""
        print(_HEAD, end="", flush=True)
        for name in names:
            for row in rows(name, Path(scratch)):
                print(row, flush=True)
                table += row + "\n"
    if options.write:
        text = DOC.read_text()
        if _BEGIN not in text:
            sys.exit(f"{DOC} has no line {_BEGIN.strip()}")
        before, _, rest = text.partition(_BEGIN)
        DOC.write_text(f"{before}{_BEGIN}\n{_HEAD}{table}\n{_END}{rest.partition(_END)[2]}")


if __name__ == "__main__":
    main()
