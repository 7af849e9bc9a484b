"""A model that was really trained to mistrust one group's mails is refused for that reason alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from models.evaluation.classification import judge

from models import export, train
from models.checks import probe
from ratchet import recipe as recipes
from ratchet.lake import ingest, quarantine, snapshot, table
from ratchet.lake.snapshot import Examples
from ratchet.recipe import Criteria
from ratchet.types import EvaluationReport

FAIR = "fair to groups, class ham"


@pytest.fixture(scope="module")
def mails(module_home: Path) -> tuple[recipes.Recipe, dict[str, Split], np.ndarray]:
    """The recipe, its sides, and the group of each record on the training side."""
    recipe = recipes.load("spam")
    batch = ingest.land_feed(recipe, recipe.batches[0], "test")
    home = ingest.lake(recipe.name)
    quarantine.admit_landed(home, batch.id, "test")
    sides = snapshot.load(recipe, snapshot.take(recipe))
    rows = table.read(home / "records", ["text", "group"])
    assert rows is not None
    groups = dict(zip(rows["text"].to_pylist(), rows["group"].to_pylist(), strict=True))
    return recipe, dict(sides), np.array([groups[text] for text in sides["train"].inputs])


def trained(recipe: recipes.Recipe, sides: dict[str, Split], labels: np.ndarray, folder: Path) -> EvaluationReport:
    words = recipe.contract.learn_vocabulary(sides["train"].inputs)
    x, v = (recipe.contract.features(sides[side].inputs, words) for side in ("train", "validation"))
    training = replace(recipe.training, epochs=2)
    fitted = train.fit(recipe, training, (x, labels), (v, sides["validation"].targets), folder / "fit")
    (folder / "out").mkdir()
    made = export.export(recipe, fitted.model, words, sides["test"].inputs, folder / "out")
    held, _ = snapshot.load_benchmark(recipe)
    asked = Criteria(accuracy=0.7, worst_class=0.6, fairness={"ham": 0.15})
    mine = made.predict(held.inputs)
    further = probe(recipe, asked, made, held, sides, mine, None)  # type: ignore[arg-type]
    return judge(recipe.name, "1", asked, "b", held.targets, mine, None, None, recipe.classes, further)


def test_one_that_treats_the_groups_alike_passes(
    mails: tuple[recipes.Recipe, dict[str, Split], np.ndarray], tmp_path: Path
) -> None:
    recipe, sides, _ = mails
    found = trained(recipe, sides, sides["train"].targets, tmp_path)
    assert found.blessed, found.why
    assert next(c for c in found.checks if c.name == FAIR).outcome == "passed"


def test_one_that_mistrusts_a_group_is_refused_for_it(
    mails: tuple[recipes.Recipe, dict[str, Split], np.ndarray], tmp_path: Path
) -> None:
    recipe, sides, groups = mails
    labels = sides["train"].targets.copy()
    labels[groups == "Ireland"] = recipe.classes.index("spam")
    found = trained(recipe, sides, labels, tmp_path)
    assert {c.name for c in found.checks if c.outcome not in ("passed", "skipped")} == {FAIR}, found.why
    assert "Ireland" in found.why
