"""A model that was really trained to mistrust one group's mails is rejected for that reason alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models import export, train
from models.checks import model_checks
from models.evaluate import benchmark_checks
from ratchet import recipe as recipes
from ratchet.evaluation.report import report
from ratchet.kinds.text import TextContract
from ratchet.lake import ingest, quarantine, snapshot, table
from ratchet.lake.snapshot import Examples
from ratchet.recipe import Criteria
from ratchet.types import EvaluationReport

FAIR = "fairness, class ham"


@pytest.fixture(scope="module")
def mails(module_home: Path) -> tuple[recipes.Recipe, dict[str, Examples], np.ndarray]:
    """The recipe, its sides, and the group of each record on the training side."""
    recipe = recipes.load("spam")
    contract = TextContract(max_characters=recipe.contract.max_characters, max_tokens=64, vocabulary_size=2000)
    training = replace(recipe.training, epochs=2, parameters={"size": 32, "blocks": 1})
    recipe = replace(recipe, contract=contract, training=training)
    batch = ingest.land_feed(recipe, recipe.batches[0], "test")
    home = ingest.lake(recipe.name)
    quarantine.admit_landed(home, batch.id, "test")
    sides = snapshot.load(recipe, snapshot.take(recipe))
    rows = table.read(home / "records", ["text", "group"])
    assert rows is not None
    groups = dict(zip(rows["text"].to_pylist(), rows["group"].to_pylist(), strict=True))
    return recipe, dict(sides), np.array([groups[text] for text in sides["train"].inputs])


def trained(recipe: recipes.Recipe, sides: dict[str, Examples], labels: np.ndarray, folder: Path) -> EvaluationReport:
    vocabulary = recipe.contract.learn_vocabulary(sides["train"].inputs)
    x, v = (recipe.contract.features(sides[side].inputs, vocabulary) for side in ("train", "validation"))
    criteria = Criteria(accuracy=0.7, worst_class=0.6, fairness={"ham": 0.15})
    recipe = replace(recipe, criteria=criteria)
    fitted = train.fit(recipe, recipe.training, (x, labels), (v, sides["validation"].targets), folder / "fit")
    (folder / "out").mkdir()
    model = export.export(recipe, fitted.model, vocabulary, sides["test"].inputs, folder / "out")
    benchmark, _ = snapshot.load_benchmark(recipe)
    outputs = model.predict(benchmark.inputs)
    checks = [
        *benchmark_checks(recipe, benchmark, outputs, sides["train"], None, None),
        *model_checks(recipe, model, benchmark, sides, outputs),  # type: ignore[arg-type]
    ]
    return report(recipe.name, "1", None, "benchmark", checks)


def test_one_that_treats_the_groups_alike_passes(
    mails: tuple[recipes.Recipe, dict[str, Examples], np.ndarray], tmp_path: Path
) -> None:
    recipe, sides, _ = mails
    result = trained(recipe, sides, sides["train"].targets, tmp_path)
    assert result.blessed, result.why
    assert next(c for c in result.checks if c.name == FAIR).outcome == "passed"


def test_one_that_mistrusts_a_group_is_rejected_for_it(
    mails: tuple[recipes.Recipe, dict[str, Examples], np.ndarray], tmp_path: Path
) -> None:
    recipe, sides, groups = mails
    labels = sides["train"].targets.copy()
    labels[groups == "Ireland"] = recipe.answers.classes.index("spam")
    result = trained(recipe, sides, labels, tmp_path)
    assert {c.name for c in result.checks if c.outcome not in ("passed", "skipped")} == {FAIR}, result.why
    assert "Ireland" in result.why
