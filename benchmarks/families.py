"""`make bench-families`: trains every family on every recipe's first batch, and scores its export on the benchmark."""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import HuberRegressor, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from benchmarks import page
from models import candidate
from models.latency import measure
from models.training_inputs import NetworkInputs, training_inputs
from ratchet import recipe as recipes
from ratchet.evaluation.bootstrap import mean
from ratchet.lake import ingest, quarantine, snapshot
from ratchet.recipe import Recipe, Training, families
from ratchet.settings import ROOT, settings
from ratchet.tasks import parts as tasks

_HEAD = """\
| recipe | family | metric on the benchmark | trained in, s | latency, ms | ONNX, MB | weights |
| --- | --- | --- | --- | --- | --- | --- |
"""


def rows(name: str, scratch: Path) -> Iterator[str]:
    """One line for each family that accepts this recipe's inputs, and for a table, one for each simple model."""
    recipe = recipes.load(name)
    ingest.land_feed(recipe, recipe.batches[0], "benchmark")
    for batch in quarantine.pending(ingest.lake(name)):
        quarantine.admit_landed(ingest.lake(name), batch, "benchmark")
    data, (benchmark, _) = snapshot.take(recipe), snapshot.load_benchmark(recipe)
    own = recipe.training
    for family in families(recipe.contract.kind, recipe.answers.task):
        training = own if family == own.family else replace(own, family=family, parameters={})
        inputs = training_inputs(recipe, training, data, scratch)
        yield _row(recipe, training, inputs, benchmark, scratch / name / family)
    if recipe.contract.categories():
        inputs = training_inputs(recipe, own, data, scratch)
        features = recipe.contract.features(benchmark.inputs, inputs.vocabulary)
        for described, predict in peers(recipe, inputs):
            started = time.monotonic()
            outputs = predict(features)
            figures = f"{_metric(recipe, benchmark, outputs)} | {time.monotonic() - started:.0f} | | |"
            yield f"| `{recipe.name}` | {described} | {figures} |"


def _row(recipe: Recipe, training: Training, inputs: NetworkInputs, benchmark: snapshot.Examples, folder: Path) -> str:
    """Trained and exported as in the loop."""
    folder.mkdir(parents=True)
    fitted, exported = candidate.fit(recipe, training, inputs, folder, lambda number, metrics: None)
    latency, size = measure(exported).latency_ms, exported.path.stat().st_size / 1e6
    weights = f"{fitted.model.count_params():,}" if fitted.model else ""
    metric = _metric(recipe, benchmark, exported.predict(benchmark.inputs))
    figures = f"{metric} | {fitted.seconds:.0f} | {latency:.2f} | {size:.2f} | {weights}"
    return f"| `{recipe.name}` | {training.family} | {figures} |"


def _metric(recipe: Recipe, benchmark: snapshot.Examples, outputs: np.ndarray) -> str:
    """The metric with its 95 % interval."""
    answers = recipe.answers
    losses = answers.losses(benchmark.targets, outputs)
    _, low, high = mean(losses)
    value = answers.score(benchmark.targets, outputs)
    ends = sorted(value - answers.sign * (end - losses.mean()) for end in (low, high))
    return f"{answers.metric.replace('_', ' ')} {value:.4f} ({ends[0]:.4f} to {ends[1]:.4f})"


def peers(recipe: Recipe, inputs: NetworkInputs) -> Iterator[tuple[str, Callable[[np.ndarray], np.ndarray]]]:
    """Plain scikit-learn on the same side and the same columns: each is fitted when it is called."""
    (x, y), answers = inputs.train, recipe.answers
    categories = list(recipe.contract.categories())
    numbers = [column for column in range(x.shape[1]) if column not in categories]

    def constant(features: np.ndarray) -> np.ndarray:
        outputs = tasks.evaluation(answers.task).constants(answers, y)
        best = min(outputs, key=lambda output: answers.losses(y, np.tile(output, (len(y), 1))).mean())
        return np.tile(best, (len(features), 1))

    def fitted(model: Any, features: np.ndarray) -> np.ndarray:
        model.fit(x, y.ravel())
        return model.predict_proba(features) if answers.classes else model.predict(features)[:, None]

    prepared = ColumnTransformer(
        [("c", OneHotEncoder(handle_unknown="ignore"), categories), ("n", "passthrough", numbers)]
    )
    linear = LogisticRegression(max_iter=1000) if answers.classes else HuberRegressor(max_iter=1000)
    boosting: Any = HistGradientBoostingClassifier if answers.classes else HistGradientBoostingRegressor
    loss = {} if answers.classes else {"loss": "absolute_error"}
    yield "the best constant", constant
    yield "scikit-learn, linear", partial(fitted, make_pipeline(prepared, linear))
    plain = boosting(categorical_features=categories, random_state=0, **loss)
    yield "scikit-learn, boosting (HistGradientBoosting)", partial(fitted, plain)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipes", default="", help="some, separated by commas; all by default")
    parser.add_argument("--write", action="store_true", help=f"write the table into {page.DOC.relative_to(ROOT)}")
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
        page.write("bench-families", ["", *f"{_HEAD}{table}".splitlines(), ""])


if __name__ == "__main__":
    main()
