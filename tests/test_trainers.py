"""Trainers that are functions: each framework's file answers as the framework does, and a wrong file is named."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
import pytest
from onnx import TensorProto, helper
from sklearn.datasets import load_wine

from models import adopt, candidate, foreign
from models.training_inputs import NetworkInputs
from ratchet import settings as settings_module
from ratchet import trainer
from ratchet.errors import Refusal
from ratchet.kinds.table import Column, TableContract
from ratchet.lake.snapshot import Examples
from ratchet.recipe import Classification, Criteria, DataSet, Feed, Recipe, Regression, RegressionCriteria, Training
from tests.conftest import HERE, ROOT

WINE = load_wine()
TABLE = TableContract(tuple(Column(name, "number") for name in WINE.feature_names), target="kind")
RECIPE = Recipe(
    name="wine", version=1, purpose="Three kinds of wine.", contract=TABLE, criteria=Criteria(),
    task=Classification(("one", "two", "three")), training=Training(family="boosting", epochs=40),
    data=DataSet("wine_dir", (), "", {"a": "0" * 64}), batches=(Feed("a"),), benchmark=Feed("a"),
)  # fmt: skip


def eventually(condition: Callable[[], Any], seconds: float = 30) -> Any:
    until = time.monotonic() + seconds
    while not (result := condition()) and time.monotonic() < until:
        time.sleep(0.1)
    return result


@pytest.fixture
def inputs(home: Path, monkeypatch: pytest.MonkeyPatch) -> NetworkInputs:
    monkeypatch.setenv("RATCHET_RECIPES", str(HERE / "recipes_kinds"))
    settings_module.settings.cache_clear()
    rows = TABLE.read([dict(zip(WINE.feature_names, row, strict=True)) for row in WINE.data.tolist()])
    order = np.random.default_rng(0).permutation(len(rows))
    rows, labels = rows[order], WINE.target[order].astype(np.int32)
    sides = {"train": Examples(rows[:120], labels[:120]), "validation": Examples(rows[120:], labels[120:])}
    learnt = TABLE.learn_vocabulary(rows[:120])
    pairs = [(TABLE.features(side.inputs, learnt), side.targets) for side in sides.values()]
    return NetworkInputs({**sides, "test": sides["validation"]}, learnt, *pairs, None)


@pytest.mark.parametrize("name", ["forest", "trees", "torch", ""])
def test_a_file_of_each_framework_answers_as_the_framework_does(
    name: str, inputs: NetworkInputs, tmp_path: Path
) -> None:
    if name == "torch" and not importlib.util.find_spec("torch"):
        pytest.skip("PyTorch is not installed: it is in the group torch")
    own = replace(RECIPE, train=f"_trainers:{name}") if name else RECIPE  # the family boosting
    logged: list[int] = []
    fitted, exported = foreign.fit(own, own.training, inputs, tmp_path, lambda step, metrics: logged.append(step))
    outputs, side = exported.predict(inputs.sides["validation"].inputs), inputs.validation
    assert (outputs.argmax(axis=1) == side[1]).mean() > 0.85
    assert np.allclose(outputs.sum(axis=1), 1, atol=1e-4)
    assert [value.name for value in onnx.load(exported.path).graph.input] == ["table"]
    assert fitted.history[-1]["val_accuracy"] > 0.85
    assert logged or name in ("forest", "trees")
    again, _ = foreign.fit(own, own.training, inputs, tmp_path / "again", lambda step, metrics: None)
    assert again.weights == fitted.weights, "the same data give the same file"


@pytest.mark.parametrize(("name", "why"), [
    ("failing", "the data are not to my taste"), ("lying", "differ by .* from those of the trainer's framework"),
    ("nowhere", "returned no file"), ("missing", "has no attribute 'missing'"),
])  # fmt: skip
def test_a_trainer_that_fails_is_named_with_its_reason(
    name: str, why: str, inputs: NetworkInputs, tmp_path: Path
) -> None:
    own = replace(RECIPE, train=f"_trainers:{name}")
    with pytest.raises(Refusal, match=why):
        foreign.fit(own, own.training, inputs, tmp_path, lambda step, metrics: None)


def test_a_trainer_that_is_called_again_starts_in_an_empty_folder_and_keeps_its_checkpoints(
    inputs: NetworkInputs, tmp_path: Path
) -> None:
    lying, sound = (replace(RECIPE, train=f"_trainers:{name}") for name in ("lying", "forest"))
    with pytest.raises(Refusal, match="differ by"):
        foreign.fit(lying, lying.training, inputs, tmp_path, lambda step, metrics: None)
    (tmp_path / "checkpoints" / "state").touch()
    silent = replace(RECIPE, train="_trainers:silent")
    foreign.fit(silent, silent.training, inputs, tmp_path, lambda step, metrics: None)
    foreign.fit(sound, sound.training, inputs, tmp_path, lambda step, metrics: None)
    assert (tmp_path / "checkpoints" / "state").exists()
    assert len(list(tmp_path.glob("try-*"))) == 1


def test_a_trainer_ends_with_the_run_that_started_it_and_all_it_started(inputs: NetworkInputs, tmp_path: Path) -> None:
    side = trainer.Side(inputs.sides["train"].inputs, *inputs.train)
    sizes = {"epochs": 1, "batch_size": 1, "learning_rate": 0.1, "seed": 0, "seconds": 60, "parameters": {}}
    job = {"train": "_trainers:sleeping", "classes": ["a"], "loss": "", "categories": [], **sizes}
    job["checkpoints"] = str(tmp_path)
    path = trainer.write(tmp_path / "try", side, side, job)
    code = f"""
import subprocess, sys, time
command = [sys.executable, "-m", "ratchet.trainer", {str(path)!r}]
subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
time.sleep(60)
"""
    env = {**os.environ, "PYTHONPATH": f"{HERE / 'recipes_kinds'}:{ROOT}"}
    run = subprocess.Popen([sys.executable, "-c", code], env=env)
    pids = eventually(
        lambda: (tmp_path / "try" / "pids").read_text().split() if (tmp_path / "try" / "pids").exists() else []
    )
    assert len(pids) == 2
    run.kill()
    run.wait()
    assert eventually(lambda: not any(psutil.pid_exists(int(pid)) for pid in pids))


def test_an_unknown_parameter_of_the_trees_is_named(inputs: NetworkInputs, tmp_path: Path) -> None:
    own = replace(RECIPE, training=Training(family="boosting", parameters={"round": 3}))
    with pytest.raises(Refusal, match="boosting has no parameter round; it has rounds, leaves"):
        foreign.fit(own, own.training, inputs, tmp_path, lambda step, metrics: None)


def graph(
    nodes: list[Any], width: Any = 13, output: tuple[Any, ...] = ("N", 3), dtype: int = TensorProto.FLOAT, **more: Any
) -> onnx.ModelProto:
    first = helper.make_tensor_value_info("x", dtype, ["N", width])
    last = helper.make_tensor_value_info("y", TensorProto.FLOAT, list(output))
    weights = helper.make_tensor("w", TensorProto.FLOAT, [13, 3], np.zeros(39))
    whole = helper.make_graph(nodes, "g", [first, *more.get("inputs", ())], [last, *more.get("outputs", ())], [weights])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("mine", 1)]
    return helper.make_model(whole, opset_imports=opsets, ir_version=9)


SOUND = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Softmax", ["h"], ["y"])]
EXTRA = helper.make_tensor_value_info("extra", TensorProto.FLOAT, ["N", 1])
SECOND = helper.make_tensor_value_info("h", TensorProto.FLOAT, ["N", 3])
BRANCH = helper.make_graph([helper.make_node("RandomNormalLike", ["h"], ["y"])], "b", [],
                           [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])])  # fmt: skip
WRONG: list[tuple[Callable[[], onnx.ModelProto], str]] = [
    (lambda: graph(SOUND, width=4), r"shape \[N, 4\], not \[N, 13\]"),
    (lambda: graph([helper.make_node("Mine", ["x"], ["y"], domain="mine")]), "operator Mine is of 'mine'"),
    (lambda: graph([*SOUND[:1], helper.make_node("RandomNormalLike", ["h"], ["y"])]), "gives other outputs each time"),
    (
        lambda: graph(
            [
                SOUND[0],
                helper.make_node("ReduceMax", ["h"], ["m"], keepdims=0),
                helper.make_node("Cast", ["m"], ["c"], to=TensorProto.BOOL),
                helper.make_node("If", ["c"], ["y"], then_branch=BRANCH, else_branch=BRANCH),
            ]
        ),
        "RandomNormalLike gives other outputs",
    ),
    (lambda: graph(SOUND, inputs=[EXTRA]), "it has 2 inputs"),
    (lambda: graph(SOUND, outputs=[SECOND]), "2 of its outputs"),
    (lambda: graph([*SOUND[:1], helper.make_node("Relu", ["h"], ["y"])]), "they do not sum to 1"),
    (lambda: graph([*SOUND[:1], helper.make_node("Log", ["h"], ["y"])]), "not finite"),
    (lambda: graph(SOUND, dtype=TensorProto.STRING), "is no ONNX model|type STRING|cannot run it"),
]


@pytest.mark.parametrize(("make", "why"), WRONG)
def test_a_wrong_file_is_named_before_anything_is_evaluated(
    make: Callable[[], onnx.ModelProto], why: str, inputs: NetworkInputs, tmp_path: Path
) -> None:
    path = tmp_path / "theirs.onnx"
    path.write_bytes(make().SerializeToString())
    with pytest.raises(Refusal, match=why):
        adopt.adopt(RECIPE, path, tmp_path, inputs.vocabulary, inputs.sides["validation"].inputs, None)


def test_a_sound_file_of_doubles_is_taken_and_one_that_is_no_model_is_not(
    inputs: NetworkInputs, tmp_path: Path
) -> None:
    path, sample = tmp_path / "theirs.onnx", inputs.sides["validation"].inputs
    nodes = [helper.make_node("Cast", ["x"], ["single"], to=TensorProto.FLOAT),
             helper.make_node("MatMul", ["single", "w"], ["h"]), SOUND[1]]  # fmt: skip
    path.write_bytes(graph(nodes, dtype=TensorProto.DOUBLE).SerializeToString())
    assert adopt.adopt(RECIPE, path, tmp_path, inputs.vocabulary, sample, None).shape == (len(sample), 3)
    path.write_bytes(b"no model")
    with pytest.raises(Refusal, match="no ONNX model"):
        adopt.adopt(RECIPE, path, tmp_path, inputs.vocabulary, sample, None)


@pytest.mark.parametrize("numbers", [False, True])
def test_a_network_for_tables_learns_and_its_export_answers_as_keras_does(
    numbers: bool, inputs: NetworkInputs, tmp_path: Path
) -> None:
    """The export itself refuses another answer."""
    own = replace(RECIPE, training=Training(family="mlp", epochs=30, batch_size=16, learning_rate=0.01))
    if numbers:  # one of the features
        own = replace(own, task=Regression(0, 10_000, close=10.0), criteria=RegressionCriteria(error=100.0))
        sides = {name: Examples(side.inputs, side.inputs["proline"][:, None]) for name, side in inputs.sides.items()}
        pairs = [
            (pair[0], sides[name].targets)
            for name, pair in (("train", inputs.train), ("validation", inputs.validation))
        ]
        inputs = NetworkInputs(sides, inputs.vocabulary, *pairs, None)
    fitted, exported = candidate.fit(own, own.training, inputs, tmp_path, lambda number, metrics: None)
    side = inputs.sides["validation"]
    score, outputs = own.answers.score(side.targets, exported.predict(side.inputs)), exported.predict(side.inputs)
    if numbers:
        assert score < 0.6 * np.abs(side.targets - np.median(inputs.train[1])).mean()
        assert outputs.shape == (len(side), 1)
    else:
        assert score > 0.85
    assert fitted.history[-1]["loss"] < fitted.history[0]["loss"]


@pytest.mark.parametrize("family", ["mlp", "boosting"])
def test_a_record_that_counts_little_is_hardly_learned(family: str, inputs: NetworkInputs, tmp_path: Path) -> None:
    own = replace(RECIPE, training=Training(family=family, epochs=3, batch_size=16))
    chance = np.random.default_rng(0)
    blind, held_out = ((x, chance.permutation(y)) for x, y in (inputs.train, inputs.validation))
    inputs = replace(inputs, train=blind, validation=held_out)
    counts = tuple(np.where(targets == 0, 0.01, 1.5) for _, targets in (blind, held_out))
    equal, unequal = (
        candidate.fit(own, own.training, given, tmp_path / name, lambda number, metrics: None)[1]
        .predict(inputs.sides["train"].inputs)[:, 0]
        .mean()
        for name, given in (("equal", inputs), ("unequal", replace(inputs, sample_weights=counts)))
    )
    assert unequal < equal / 2, (unequal, equal)
