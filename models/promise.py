"""What a package promises: its answers to the benchmark, scored once for each package and benchmark."""

from collections import Counter

import numpy as np

from models.evaluate import outputs_of
from ratchet import memo
from ratchet.answers import predicted
from ratchet.evaluation import promise as promises
from ratchet.lake import ingest
from ratchet.lake.snapshot import Examples, load_benchmark
from ratchet.recipe import Recipe
from ratchet.types import Package, Promise

VERSION = 1
"""Raise it when the same package should promise something else."""


def of(recipe: Recipe, package: Package) -> Promise:
    """The promise of what the package serves. Raises Refusal if nobody has the package any more."""
    fingerprint = ingest.fingerprint(ingest.benchmark(recipe)["record"].chunks)

    def work() -> Promise:
        benchmark, _ = load_benchmark(recipe)
        return of_outputs(recipe, benchmark, outputs_of(package, benchmark.inputs))

    key = memo.key("promise", VERSION, package=package.digest, benchmark=fingerprint)
    result, _ = memo.run(key, Promise, work, source=promises.promise)
    return result


def of_outputs(recipe: Recipe, benchmark: Examples, outputs: np.ndarray) -> Promise:
    """The promise of a model with these outputs [N, width] for the benchmark."""
    answers = recipe.answers
    losses, certainties = answers.losses(benchmark.targets, outputs), answers.certainty(outputs)
    return promises.promise(losses, certainties, dict(Counter(predicted(answers, outputs))), answers.largest_loss)
