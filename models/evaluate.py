"""Evaluates a candidate: scores it and the champions on the benchmark now, and writes the report to MLflow."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from models import candidate as candidates
from models import checks, explanations, export, registry
from models.export import Exported
from ratchet import kinds, memo, slices
from ratchet.errors import Refusal
from ratchet.evaluation import champion as champion_checks
from ratchet.evaluation import cost, thresholds
from ratchet.evaluation.champion import Rival
from ratchet.evaluation.comparison import losses_of, no_worse
from ratchet.evaluation.report import report
from ratchet.evaluation.variants import FULL, NO_WORSE
from ratchet.files import FORMAT
from ratchet.fleet.package_cache import MODEL, PackageCache
from ratchet.kinds import parts as kind_parts
from ratchet.lake.snapshot import Examples, load, load_benchmark, newest
from ratchet.recipe import Recipe
from ratchet.settings import settings
from ratchet.tasks import parts
from ratchet.types import Candidate, Check, EvaluationReport, Package, to_json

VERSION = 6
"""Raise it when the same figures should give another report."""


def evaluate(recipe: Recipe, candidate: Candidate, champions: Sequence[Package], scratch: Path) -> EvaluationReport:
    """The report on the candidate, which is also written to MLflow as tags and a file.

    `champions` are the packages that were ever champion, and the present one last. It is compared with what they
    serve, whatever a person deleted in MLflow since.
    """
    benchmark, fingerprint = load_benchmark(recipe)
    packages = {package.version: package for package in champions}
    champion = champions[-1].version if champions else None
    best = _best(recipe, fingerprint, champion, packages)
    replaceable = champion is not None and candidates.kept(recipe.name, champion) is None

    def work() -> EvaluationReport:
        versions = {version for version in (champion, best) if version is not None}
        outputs = {version: outputs_of(packages[version], benchmark.inputs) for version in versions}
        rivals = [(version, outputs[version]) if version else None for version in (champion, best)]
        model = candidates.exported(recipe, candidate, scratch)
        own = model.predict(benchmark.inputs)
        sides = load(recipe, candidate.snapshot)
        explanations.save(candidate, explanations.explain(recipe, model, benchmark, own, sides["train"]))
        results = [
            *benchmark_checks(recipe, benchmark, own, sides["train"], rivals[0], rivals[1], replaceable),
            *_newest(recipe, model, candidate, packages.get(champion or "")),
            *checks.model_checks(recipe, model, benchmark, sides, own),
        ]
        bins = parts.evaluation(recipe.answers.task).reliability(recipe.answers, benchmark.targets, own)
        return report(recipe.name, candidate.version, champion, fingerprint, results, bins)

    model = {"version": candidate.version, "weights": candidate.weights, "onnx": candidate.packaged}
    compared: dict[str, Any] = {"champion": champion, "best": best, "benchmark": fingerprint}
    compared |= {"replaceable": True} if replaceable else {}
    own: Any = recipe.criteria
    criteria = {**asdict(own), "memory": recipe.memory_mb, "shown": recipe.show_inputs}
    key = memo.key("evaluate", VERSION, recipe=recipe.name, **model, **compared, criteria=criteria)
    # A busy moment of the machine must not reject a candidate for good.
    result, _ = memo.run(
        key, EvaluationReport, work, source=benchmark_checks, valid=lambda r: not cost.should_measure_again(r.checks)
    )
    _write(recipe, candidate, result)
    return result


def benchmark_checks(
    recipe: Recipe,
    benchmark: Examples,
    outputs: np.ndarray,
    train: Examples,
    champion: Rival | None,
    best: Rival | None,
    replaceable: bool = False,
) -> list[Check]:
    """Thresholds, the comparison with the champions, and the slices."""
    criteria, answers, targets = recipe.criteria, recipe.answers, benchmark.targets
    task = parts.evaluation(answers.task)
    results = [thresholds.finite(outputs), *task.benchmark_checks(recipe, benchmark, outputs, train)]
    if champion:
        margin = task.margin(answers, criteria.margin)
        results += champion_checks.comparisons(answers, margin, targets, outputs, champion, best, replaceable)
    masks = slices.masks(recipe.contract, answers, criteria.slices, benchmark.inputs, targets)
    margin = task.margin(answers, criteria.slice_margin, champion_checks.MIN_RECORDS)
    return results + champion_checks.slices(answers, margin, masks, targets, outputs, champion)


def _newest(recipe: Recipe, model: Exported, candidate: Candidate, champion: Package | None) -> list[Check]:
    """The champion's package is scored on the newest records as well; windows of a series overlap with older ones."""
    if champion is None or recipe.contract.answers() is not None:
        return []
    known = candidates.kept(recipe.name, champion.version)
    if known is None:
        return [champion_checks.skipped_newest(f"MLflow no longer has version {champion.version}")]
    try:
        examples = newest(recipe, candidate.snapshot, candidates.read(known).snapshot)
    except Refusal as refusal:  # records of it were forgotten
        return [champion_checks.skipped_newest(refusal.what)]
    if len(examples) < champion_checks.MIN_RECORDS:
        why = f"{len(examples)} records are newer than what version {champion.version} was trained on"
        return [champion_checks.skipped_newest(why)]
    margin = parts.evaluation(recipe.answers.task).margin(recipe.answers, recipe.criteria.margin)
    rival, outputs = (champion.version, outputs_of(champion, examples.inputs)), model.predict(examples.inputs)
    may_be_few = not kind_parts.records(recipe.contract.kind).is_in_order(recipe.contract)
    return [champion_checks.newest(recipe.answers, margin, examples.targets, outputs, rival, may_be_few)]


def compare_variant(recipe: Recipe, targets: np.ndarray, outputs: np.ndarray, full: np.ndarray) -> Check:
    """The check that a variant's outputs are no worse than those of the one in full precision."""
    losses, others = (losses_of(recipe.answers, targets, each) for each in (outputs, full))
    margin = parts.evaluation(recipe.answers.task).margin(recipe.answers, recipe.criteria.margin)
    return no_worse(NO_WORSE, margin, losses, others, FULL)


def _best(recipe: Recipe, fingerprint: str, champion: str | None, packages: Mapping[str, Package]) -> str | None:
    """The champion with the best metric on this benchmark; the present one if none was evaluated on it.

    One whose version or package is gone is no candidate.
    """
    scores = {}
    for version, package in packages.items():
        registered = registry.version(recipe.name, version)
        if registered and registered.tags.get("ratchet.benchmark") == fingerprint and _is_kept(package):
            scores[version] = float(registered.tags[f"ratchet.{recipe.answers.metric}"]) * recipe.answers.sign
    return max(scores, key=lambda version: (scores[version], version)) if scores else champion


def _is_kept(package: Package) -> bool:
    return PackageCache(settings()).has(package) or registry.has(package.artifact)


def outputs_of(package: Package, inputs: np.ndarray) -> np.ndarray:
    """What a package answers. Raises Refusal if MLflow no longer has it, and this machine has no copy."""
    cache = PackageCache(settings())
    if not _is_kept(package):
        what = f"MLflow no longer has the package of version {package.version}, and this machine has no copy"
        next = f"Copy it from a host that serves it to {cache.packed(package)}, and run the loop again"
        raise Refusal(what, package.tag, next)
    with cache.using(package, registry.fetch_package) as folder:
        served = json.loads((folder / MODEL / "meta.json").read_text(encoding="utf-8"))
        return Exported(folder / MODEL / export.MODEL, kinds.of(served["contract"])).predict(inputs)


def _write(recipe: Recipe, candidate: Candidate, result: EvaluationReport) -> None:
    content = json.dumps({"format": FORMAT, **to_json(result)}, indent=1)
    registry.upload(registry.path_of(candidate, "evaluation.json"), content)
    tags = {
        "ratchet.evaluation": "blessed" if result.blessed else "rejected",
        "ratchet.evaluation_why": result.why,
        "ratchet.benchmark": result.benchmark,
        f"ratchet.{recipe.answers.metric}": json.dumps(result.metric),
    }
    for name, value in tags.items():
        registry.set_tag(candidate.recipe, candidate.version, name, value)
