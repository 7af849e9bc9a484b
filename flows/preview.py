"""Tries a new recipe on its own data as the loop would: what is read, its split, its suite, and simple models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ratchet.errors import Refusal
from ratchet.kinds import parts as kinds
from ratchet.lake import ingest, snapshot
from ratchet.lake.snapshot import Examples
from ratchet.recipe import Recipe
from ratchet.tasks import parts as tasks

_MOST = 5000
"""Examples of the benchmark that simple models answer."""
_FEW = 100
"""Examples of a benchmark below which hardly any difference can be shown."""


@dataclass(frozen=True)
class Preview:
    figures: tuple[str, ...]
    problems: tuple[str, ...]
    """What the loop would refuse, and why."""


def preview(recipe: Recipe, report: Callable[[str], None]) -> Preview:
    """Reads the first batch and the benchmark, runs the suite, and evaluates a constant and a linear model."""
    try:
        return _preview(recipe, report)
    except Refusal as refusal:
        return Preview((), (f"{refusal}",))


def _preview(recipe: Recipe, report: Callable[[str], None]) -> Preview:
    report("reading the benchmark and the first batch")
    benchmark_rows = ingest.benchmark(recipe)
    batch = ingest.read_only(recipe, recipe.batches[0], benchmark_rows)
    figures, problems = [f"{batch.accepted.num_rows} records would land"], list[str]()
    for reason, count in batch.reasons.items():
        figures.append(f"{count} would go to quarantine: {reason}")
    if not batch.accepted.num_rows:
        why = next(iter(batch.reasons), "it holds none")
        return Preview(tuple(figures), (f"no record of the first batch would land: {why}",))
    sides = kinds.records(recipe.contract.kind).sides(recipe.contract, batch.accepted)
    rows: dict[str, pa.Table] = {**dict(sides.items()), "benchmark": benchmark_rows}
    parts = {name: snapshot.examples(recipe, each) for name, each in rows.items()}
    trained, benchmark = parts["train"], parts["benchmark"]
    figures.append("examples: " + ", ".join(f"{len(part)} {name}" for name, part in parts.items()))
    figures += _fewer_inputs(recipe, batch.accepted)
    problems += [f"the side `{name}` has no example{_why(rows[name])}" for name, part in parts.items() if not len(part)]
    problems += _absent(recipe, rows)
    report("running the suite")
    problems += _suite(recipe, batch.accepted)
    if len(benchmark) and len(trained):
        if len(benchmark) < _FEW:
            what = f"the benchmark has {len(benchmark)} examples, by which hardly any difference can be shown"
            figures.append(f"{what}: give data for at least {_FEW}, or a larger part (a smaller `every`)")
        report("fitting a linear model")
        figures += _baselines(recipe, trained, benchmark)
    return Preview(tuple(figures), tuple(problems))


def _why(rows: pa.Table) -> str:
    """Of a series, values may be there, and yet no window."""
    if not rows.num_rows:
        return ""
    what = (
        f"its {rows.num_rows} records make none, since each needs values without a gap, beside those that `fill` allows"
    )
    return f": {what}; lower `horizon` and `window`, or raise `fill`"


def _fewer_inputs(recipe: Recipe, records: pa.Table) -> list[str]:
    """Whether many records are the same input."""
    distinct = len(pc.unique(records["input"]))
    if distinct > 0.995 * records.num_rows:
        return []
    what = f"{records.num_rows} records are {distinct} different inputs to a model"
    return [f"{what}: {recipe.contract.same}"]


def _absent(recipe: Recipe, rows: Mapping[str, pa.Table]) -> list[str]:
    """Classes or labels of which training or the benchmark has no record."""
    task, answers, problems = tasks.labels(recipe.answers.task), recipe.answers, []
    for name in ("train", "benchmark"):
        present = task.counts(answers, rows[name]["label"].to_pylist())
        if absent := [each for each in task.expected(answers) if each not in present]:
            what = "class" if answers.classes else "label"
            more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
            problems.append(f"`{name}` has no record of the {what} {', '.join(absent[:5])}{more}")
    return problems


def _suite(recipe: Recipe, records: pa.Table) -> list[str]:
    from expectations import checkpoint, statistics
    from expectations.suite import suite

    measured = statistics.of_records(recipe, records)
    result = checkpoint.check(recipe.name, "preview", measured, suite(recipe), keep=False)
    return [] if result.passed else [f"the suite refuses the first batch: {result.why}"]


def _baselines(recipe: Recipe, trained: Examples, benchmark: Examples) -> list[str]:
    """What the best constant and a linear model reach, and which of the recipe's thresholds the latter misses."""
    from models import linear

    answers, task = recipe.answers, tasks.evaluation(recipe.answers.task)
    if len(benchmark) > _MOST:
        sample = np.sort(np.random.default_rng(0).permutation(len(benchmark))[:_MOST])
        benchmark = Examples(benchmark.inputs[sample], benchmark.targets[sample])
    metric, figures = answers.metric.replace("_", " "), []
    constants = [np.tile(output, (len(trained), 1)) for output in task.constants(answers, trained.targets)]
    if constants:  # the one that is best in training, as the check takes it
        best = min(constants, key=lambda outputs: answers.losses(trained.targets, outputs).mean())
        score = answers.score(benchmark.targets, np.tile(best[0], (len(benchmark), 1)))
        figures.append(f"the best constant answer has {metric} {score:.4g} on the benchmark")
    if simple := task.simple_models(recipe, benchmark, trained):
        scores = {name: answers.score(benchmark.targets, outputs) for name, outputs in simple.items()}
        figures += [f"{name} has {metric} {score:.4g}" for name, score in scores.items()]
        return [*figures, "a model is compared with these, as the recipe's criteria say"]
    outputs = linear.fit_and_predict(recipe, trained, benchmark.inputs)
    figures.append(f"a linear model has {metric} {answers.score(benchmark.targets, outputs):.4g}")
    checks = task.benchmark_checks(recipe, benchmark, outputs, trained)
    missed = [f"{check.name}: {check.detail}" for check in checks if check.outcome not in ("passed", "skipped")]
    if missed:
        why = "; ".join(missed)
        return [*figures, f"it would be rejected ({why}): the recipe's family must reach more, or lower the limits"]
    return [*figures, "it would pass the recipe's thresholds"]
