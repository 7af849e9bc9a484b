"""Seeded, resumable, exported as it is: the same inputs give the same model."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models import export, train, zoo
from models.plots import confusion, curves
from ratchet import recipe as recipes
from ratchet.backbone import NAME, Backbone
from ratchet.charts import curve_names
from ratchet.errors import Refusal
from ratchet.files import sha256
from ratchet.recipe import Recipe, Training, families
from ratchet.tasks.classification import Classification, training
from tests.conftest import ROOT

Pictures = tuple[np.ndarray, np.ndarray]


@pytest.fixture
def sides(pictures: Pictures) -> tuple[Pictures, Pictures]:
    images, labels = pictures[0].astype(np.float32)[..., None], pictures[1]
    return (images[:600], labels[:600]), (images[600:700], labels[600:700])


def test_the_default_network_is_the_one_that_was_promised(home: Path) -> None:
    recipe = recipes.load("fashion-mnist")
    layers = [(type(x).__name__, x.output.shape[1:]) for x in zoo.network(recipe, recipe.training).layers]
    assert layers == [
        ("InputLayer", (28, 28, 1)), ("Rescaling", (28, 28, 1)),
        ("Conv2D", (26, 26, 32)), ("MaxPooling2D", (13, 13, 32)), ("Conv2D", (11, 11, 64)),
        ("MaxPooling2D", (5, 5, 64)), ("Conv2D", (3, 3, 64)), ("Flatten", (576,)), ("Dense", (64,)), ("Dense", (10,)),
    ]  # fmt: skip
    assert (recipe.training.epochs, recipe.training.batch_size) == (5, 32)


@pytest.mark.parametrize(("name", "family"), [
    (name, family)
    for name, kind, task in (("fashion-mnist", "image", "classification"), ("spam", "text", "classification"),
                             ("sf-temperature", "series", "forecast"))
    for family in families(kind, task)
])  # fmt: skip
def test_initial_weights_do_not_depend_on_what_other_threads_draw(home: Path, name: str, family: str) -> None:
    recipe = recipes.load(name)
    training = replace(recipe.training, family=family, parameters={})
    first, second = (_initial_weights(recipe, training, global_seed) for global_seed in (1, 2))
    assert first == second
    assert _initial_weights(recipe, replace(training, seed=training.seed + 1), 1) != first


def _initial_weights(recipe: Recipe, training: Training, global_seed: int) -> str:
    """The digest of the initial weights while Python's global generator has this seed."""
    import keras

    keras.utils.clear_session()
    random.seed(global_seed)
    return train.tensors_digest(zoo.network(recipe, training))


def test_no_two_tensors_of_a_network_start_alike(small: Recipe) -> None:
    model = zoo.network(small, replace(small.training, family="transformer", parameters={}))
    drawn = [np.asarray(w) for w in model.trainable_weights if np.asarray(w).std() > 0]
    assert len(drawn) > 10
    assert not any(a.shape == b.shape and (a == b).all() for a, b in itertools.combinations(drawn, 2))


def test_no_family_names_a_backend() -> None:
    for path in (Path(zoo.__file__).parent).glob("*.py"):
        assert "tf." not in path.read_text()
        assert "tensorflow" not in path.read_text()


STEP = """
import sys
import keras
import numpy as np
from models import zoo
from ratchet.kinds.image import ImageContract
from ratchet.recipe import families
from ratchet.kinds.series import SeriesContract
from ratchet.kinds.table import Column, TableContract
from ratchet.kinds.text import TextContract
from ratchet.tasks.classification import Classification
from ratchet.tasks.regression import Regression
assert keras.backend.backend() == sys.argv[1]
eagerly = sys.argv[1] == "tensorflow"  # its graphs are trained elsewhere, and take longer to trace than one batch
chance = np.random.default_rng(0)
classes = [Classification(tuple(map(str, range(count)))) for count in (10, 2)]
text, series = TextContract(max_tokens=16, vocabulary_size=50), SeriesContract(0, 99)
gaps = SeriesContract(0, 99, fill=3)
table = TableContract((Column("a", "number"), Column("b", "category", values=("x", "y"))), target="c")
number = Regression(0, 99, 1)
pairs = ((ImageContract(28, 28), classes[0]), (text, classes[1]), (series, series.answers()),
         (gaps, gaps.answers()))
for contract, answers in (*pairs, (table, classes[1]), (table, number), (text, number)):
    learnt = ("hello", "world") if contract is text else contract.learn_vocabulary(contract.synthesize(32, chance))
    x = contract.features(contract.synthesize(32, chance), learnt)
    width, numbers = answers.width, not answers.classes
    y = chance.uniform(0, 99, (32, width)).astype(np.float32) if numbers else np.arange(32) % width
    for name in set(families(contract.kind, answers.task)) - set(zoo.TRAINERS):
        model = zoo.family(name)(contract, answers)
        loss = "mse" if numbers else "sparse_categorical_crossentropy"
        model.compile(optimizer="adam", loss=loss, run_eagerly=eagerly)
        before = [np.array(w) for w in model.trainable_weights]
        model.fit(x, y, epochs=1, batch_size=32, verbose=0)
        assert any((np.array(w) != b).any() for w, b in zip(model.trainable_weights, before, strict=True))
        found = model.predict(x, verbose=0)
        assert found.shape == (32, width) and (numbers or np.allclose(found.sum(axis=1), 1, atol=1e-4))
"""


@pytest.mark.parametrize("backend", [b for b in ("tensorflow", "jax", "torch") if importlib.util.find_spec(b)])
def test_every_family_trains_on_every_backend_that_is_installed(backend: str) -> None:
    env = {**os.environ, "KERAS_BACKEND": backend}
    done = subprocess.run([sys.executable, "-c", STEP, backend], capture_output=True, text=True, env=env, cwd=ROOT)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", [name for name in families("image", "classification") if name != "cnn"])
def test_the_other_families_are_the_same_when_trained_again_and_export_as_they_are(
    name: str, small: Recipe, sides: tuple[Pictures, Pictures], tmp_path: Path
) -> None:
    training = replace(small.training, family=name, epochs=1)
    (x, y), validation = sides
    one, two = (train.fit(small, training, (x[:200], y[:200]), validation, tmp_path / folder) for folder in "ab")
    assert one.weights == two.weights
    export.export(small, one.model, (), sides[1][0][..., 0], tmp_path)


def test_a_family_that_is_not_known_is_refused_by_name() -> None:
    with pytest.raises(Refusal, match=r"no such network: lstm\. Choose one of: cnn, resnet, rnn, transformer, mlp"):
        zoo.family("lstm")


def test_the_same_inputs_give_the_same_weights(small: Recipe, sides: tuple[Pictures, Pictures], tmp_path: Path) -> None:
    one = train.fit(small, small.training, *sides, tmp_path / "a")
    two = train.fit(small, small.training, *sides, tmp_path / "b")
    other = train.fit(small, replace(small.training, seed=1), *sides, tmp_path / "c")
    assert one.weights == two.weights != other.weights
    assert len(one.history) == small.training.epochs


FIT = """
import sys, numpy as np
from dataclasses import replace
from pathlib import Path
from models import train
from ratchet import recipe as recipes
recipe = recipes.load("small-fashion")
data = np.load(sys.argv[1])
x, y = data["x"], data["y"]
told = lambda epoch, figures: print("epoch", epoch, flush=True)
real = train._epoch
train._epoch = lambda *a: [print("an epoch is fitted"), real(*a)][1]
training = replace(recipe.training, epochs=4)
fitted = train.fit(recipe, training, (x[:1500], y[:1500]), (x[1500:1600], y[1500:1600]), Path(sys.argv[2]), told)
print("weights", fitted.weights)
"""


def test_a_killed_training_resumes_and_ends_with_the_same_weights(
    small: Recipe, pictures: Pictures, tmp_path: Path
) -> None:
    np.savez(tmp_path / "data.npz", x=pictures[0], y=pictures[1])

    def start(folder: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", FIT, str(tmp_path / "data.npz"), str(tmp_path / folder)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ})

    x, y = pictures
    training = replace(small.training, epochs=4)
    whole = train.fit(small, training, (x[:1500], y[:1500]), (x[1500:1600], y[1500:1600]), tmp_path / "whole")
    process = start("killed")
    assert process.stdout
    while "epoch 2" not in process.stdout.readline():
        assert process.poll() is None
    time.sleep(0.2)  # somewhere inside the third epoch
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(json.loads((tmp_path / "killed" / "history.json").read_text())["epochs"])
    assert 2 <= done < 4
    resumed = start("killed").communicate()[0]
    assert resumed.count("an epoch is fitted") == 4 - done, "it went on from the last finished epoch"
    assert resumed.strip().splitlines()[-1] == f"weights {whole.weights}"


@pytest.fixture
def backbone(small: Recipe, sides: tuple[Pictures, Pictures], tmp_path: Path) -> Backbone:
    """Weights in a file, as a team has them: a network of three channels without its last layers."""
    import keras

    entry = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(8, 3, strides=2)(keras.layers.Rescaling(1 / 255)(entry))
    x = keras.layers.Activation("relu")(keras.layers.BatchNormalization()(x))
    keras.Model(entry, keras.layers.Conv2D(12, 3, activation="relu")(x)).save(tmp_path / "team.keras")
    return Backbone(str(tmp_path / "team.keras"), sha256(tmp_path / "team.keras"))


def test_weights_of_a_file_are_frozen_first_and_then_open_and_the_export_answers_alike(
    small: Recipe, backbone: Backbone, sides: tuple[Pictures, Pictures], tmp_path: Path
) -> None:
    recipe = replace(small, network=backbone)
    training = replace(small.training, frozen_epochs=1, epochs=1, batch_size=32)
    start = [np.asarray(weight) for weight in zoo.network(recipe, training).get_layer(NAME).weights]
    frozen = train.fit(recipe, training, *sides, tmp_path / "frozen").model
    assert all((a == b).all() for a, b in zip(start, frozen.get_layer(NAME).weights, strict=True))
    whole = train.fit(recipe, replace(training, epochs=3), *sides, tmp_path / "whole")
    means = [w for w in whole.model.get_layer(NAME).weights if "moving_mean" in w.path]
    assert all(not np.asarray(mean).any() for mean in means), "the means of batch normalization stay"
    assert not all((a == b).all() for a, b in zip(start, whole.model.get_layer(NAME).weights, strict=True))
    # A run that was killed after its frozen epoch goes on as if it had not been.
    resumed = train.fit(recipe, replace(training, epochs=3), *sides, tmp_path / "frozen")
    assert resumed.weights == whole.weights
    inputs = recipe.contract.read(sides[1][0][:20, ..., 0].astype(np.uint8))
    folder = tmp_path / "export"
    folder.mkdir()
    exported = export.export(recipe, whole.model, (), inputs, folder)
    expected = whole.model.predict(recipe.contract.features(inputs), verbose=0)
    assert np.abs(exported.predict(inputs) - expected).max() < 1e-5


def test_weights_that_cannot_be_used_are_refused_with_the_reason(
    small: Recipe, backbone: Backbone, tmp_path: Path
) -> None:
    training = small.training
    (tmp_path / "other.keras").write_bytes(b"no model")
    broken = Backbone(str(tmp_path / "other.keras"), sha256(tmp_path / "other.keras"))
    for wrong, words in (
        (replace(backbone, file="/nowhere.keras"), "there is no such file"),
        (replace(backbone, sha256="0" * 64), "its SHA-256 is"),
        (broken, "Keras cannot read the file"),
    ):
        with pytest.raises(Refusal, match=words):
            zoo.network(replace(small, network=wrong), training)
    with pytest.raises(Refusal, match="no backbone that could be frozen"):
        train.fit(small, replace(training, frozen_epochs=1), *[(np.zeros((4, 28, 28, 1)), np.zeros(4))] * 2, tmp_path)


def test_a_loss_that_is_not_finite_ends_in_a_sentence(
    small: Recipe, sides: tuple[Pictures, Pictures], tmp_path: Path
) -> None:
    with pytest.raises(Refusal, match="no longer finite"):
        train.fit(small, replace(small.training, learning_rate=1e30), *sides, tmp_path)


def test_the_export_has_plain_names_and_the_same_answers(
    small: Recipe, sides: tuple[Pictures, Pictures], tmp_path: Path
) -> None:
    import onnx

    fitted = train.fit(small, replace(small.training, epochs=1), *sides, tmp_path / "fit")
    exported = export.export(small, fitted.model, (), sides[1][0][..., 0], tmp_path)
    graph = onnx.load(exported.path).graph
    assert ([i.name for i in graph.input], [o.name for o in graph.output]) == (["image"], ["probabilities"])
    expected = fitted.model.predict(sides[1][0], verbose=0)
    assert np.abs(exported.predict(sides[1][0][..., 0]) - expected).max() < 1e-4
    # The identity is of the weights: two exports differ in bytes.
    assert train.weights_digest(fitted.model) == fitted.weights


def test_the_figures_are_curve_names() -> None:
    history = [{"loss": 1.0, "val_loss": 1.1, "accuracy": 0.5, "val_accuracy": 0.4}] * 2
    assert len(curves(history, curve_names(history)).axes) == 2
    assert curve_names([{**history[0], "mean_squared_error": 1.0, "val_mean_squared_error": 1.0}]) == [
        "mean_squared_error", "accuracy"]  # fmt: skip
    assert curve_names([{"val_l1": 1.0}, {"l1": 1.0, "val_l1": 1.0}]) == []
    outputs = np.eye(2)[[0, 1, 0]]
    matrix = training.confusion(Classification(("a", "b")), np.array([0, 1, 1]), outputs)
    assert matrix == ((1, 0), (1, 1))
    assert confusion(matrix, ["a", "b"]).axes
