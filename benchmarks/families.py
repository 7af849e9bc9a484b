"""`make bench-families`: trains every family on every recipe's first batch, and scores its export on the benchmark."""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from models import export, train
from models.candidate import temperature
from models.latency import measure
from models.training_inputs import TrainingInputs, training_inputs
from ratchet import recipe as recipes
from ratchet.lake import ingest, quarantine, snapshot
from ratchet.recipe import Recipe, Training, families
from ratchet.settings import ROOT, settings

DOC = ROOT / "docs" / "benchmarks.md"
_BEGIN, _END = "<!-- make bench-families -->\n", "<!-- end -->\n"
_HEAD = """\
| recipe | family | metric on the benchmark | trained in, s | latency, ms | ONNX, MB | weights |
| --- | --- | --- | --- | --- | --- | --- |
"""


def rows(name: str, scratch: Path) -> Iterator[str]:
    """One line of the table for each family that accepts this recipe's inputs."""
    recipe = recipes.load(name)
    ingest.land_feed(recipe, recipe.batches[0], "benchmark")
    for batch in quarantine.pending(ingest.lake(name)):
        quarantine.admit_landed(ingest.lake(name), batch, "benchmark")
    data, (benchmark, _) = snapshot.take(recipe), snapshot.load_benchmark(recipe)
    own = recipe.training
    for family in families(recipe.contract.kind):
        training = own if family == own.family else replace(own, family=family, parameters={})
        inputs = training_inputs(recipe, training, data, scratch)
        yield _row(recipe, training, inputs, benchmark, scratch / name / family)


def _row(recipe: Recipe, training: Training, inputs: TrainingInputs, benchmark: snapshot.Examples, folder: Path) -> str:
    """Trained and exported as in the loop."""
    fitted = train.fit(recipe, training, inputs.train, inputs.validation, folder)
    scale = temperature(recipe, fitted.model, *inputs.validation)
    out = folder / "out"
    out.mkdir()
    sample = inputs.sides["test"].inputs[:256]
    exported = export.export(recipe, fitted.model, inputs.vocabulary, sample, out, scale)
    score = recipe.answers.score(benchmark.targets, exported.predict(benchmark.inputs))
    latency, size = measure(exported).latency_ms, exported.path.stat().st_size / 1e6
    metric = f"{recipe.answers.metric.replace('_', ' ')} {score:.4f}"
    figures = f"{metric} | {fitted.seconds:.0f} | {latency:.2f} | {size:.2f} | {fitted.model.count_params():,}"
    return f"| `{recipe.name}` | {training.family} | {figures} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipes", default="", help="some, separated by commas; all by default")
    parser.add_argument("--write", action="store_true", help=f"write the table into {DOC.relative_to(ROOT)}")
    options = parser.parse_args()
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
        text = DOC.read_text(encoding="utf-8")
        if _BEGIN not in text:
            sys.exit(f"{DOC} has no line {_BEGIN.strip()}")
        before, _, rest = text.partition(_BEGIN)
        DOC.write_text(f"{before}{_BEGIN}\n{_HEAD}{table}\n{_END}{rest.partition(_END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
