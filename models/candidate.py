"""Makes a candidate: fitted on a snapshot, exported, logged and registered in MLflow."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from models import export, plots, registry, train
from models.judge import calibration
from models.ready import TENSORS, ready
from ratchet import contract as contracts
from ratchet import lock, stage
from ratchet import recipe as recipes
from ratchet.errors import Refusal
from ratchet.files import keep, kept, locked, sha256
from ratchet.lake import snapshot as snapshots
from ratchet.lake.ingest import lake
from ratchet.recipe import Recipe, Training
from ratchet.session import VOCABULARY
from ratchet.settings import ROOT, settings
from ratchet.words import Candidate, Snapshot, Variant, from_json, to_json

KEY = "ratchet.key"
CANDIDATE = "candidate.json"
"""The word itself, an artifact of the version: a tag is too short for many batches."""
FORMS, FORM, COLD = "forms.json", "ratchet.form", "ratchet.cold"
"""An artifact: the forms of its export. Tags: the one that is packaged; and the key of the candidate of the same
inputs that starts cold."""
_LOCKED = ("keras", "tensorflow", "numpy", "mlflow", "h5py")


def key(recipe: Recipe, training: Training, snapshot: Snapshot) -> str:
    """What makes a candidate a new one: snapshot, parameters, recipe version, and `train.VERSION`."""
    told = json.loads(json.dumps(asdict(training)))
    if not training.start:  # a version of before there were warm starts keeps its key
        del told["start"]
    return stage.key(
        "train", train.VERSION, recipe=recipe.name, recipe_version=recipe.version,
        snapshot=snapshot.fingerprint, training=told,
    )  # fmt: skip


def folder(recipe: Recipe, training: Training, snapshot: Snapshot) -> Path:
    """Where its epochs are kept until it is registered."""
    return settings().home / "training" / key(recipe, training, snapshot)[:16]


def make(recipe: Recipe, training: Training, snapshot: Snapshot, tell: Callable[[str], None]) -> tuple[Candidate, bool]:
    """The candidate of these inputs, and whether it was trained now or stood in the registry already.

    Killed at any point and called again, it goes on from the last finished epoch.
    """
    key_ = key(recipe, training, snapshot)
    source = _source(recipe, training)
    if found := registry.find(recipe.name, KEY, key_):
        if found.tags.get("ratchet.source", source) != source:
            tell("the recipe's file, or the code that trains, changed under the same version: nothing is trained anew; "
                 "raise the recipe's `version` to do it")  # fmt: skip
        return read(found), False
    scratch = folder(recipe, training, snapshot)
    with _alone(scratch, tell):
        if found := registry.find(recipe.name, KEY, key_):
            return read(found), False
        return _make(recipe, training, snapshot, scratch, source, key_, tell), True


@contextmanager
def _alone(scratch: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """A killed run may have left one at work on a cluster: two must not train the same in the same folder."""
    lock_ = scratch.parent / ".locks" / scratch.name
    with locked(lock_, wait=False) as had:
        if had:
            yield
            return
    tell("another run trains the same; it is waited for")
    with locked(lock_):
        yield


def _make(
    recipe: Recipe, training: Training, snapshot: Snapshot, scratch: Path, source: str, key_: str,
    tell: Callable[[str], None],
) -> Candidate:  # fmt: skip
    parameters = {k: v for k, v in asdict(training).items() if k != "parameters"} | dict(training.parameters)
    tags = {"git.commit": lock.commit(), "lock.sha256": lock.digest(), "recipe.version": str(recipe.version),
            "ratchet.source": source, COLD: key(recipe, replace(training, start=""), snapshot)}  # fmt: skip
    data = ready(recipe, training, snapshot, scratch)
    with registry.open_run(recipe.name, key_, parameters, tags) as run:
        size = f"{training.epochs} epochs of batches of {training.batch_size}"
        warm = f", from the weights {training.start[:16]}" if training.start else ""
        tell(f"training {training.family} on {len(data.sides['train'])} records, {size}{warm}")
        registry.log_snapshot(snapshot, *data.train, lake(recipe.name) / "records")

        def epoch(number: int, figures: Mapping[str, float]) -> None:
            run.epoch(number, figures)
            tell(_epoch(number, training, figures))

        fitted = train.fit(recipe, training, data.train, data.held, scratch, epoch, data.start)
        calmed = temperature(recipe, fitted.model, *data.held)
        test = data.sides["test"]
        exported = export.export(recipe, fitted.model, data.words, test.inputs[:256], scratch, calmed)
        candidate = _register(recipe, training, snapshot, fitted, exported, test, run, tags, key_, parameters)
    shutil.rmtree(scratch, ignore_errors=True)
    return candidate


def _epoch(number: int, training: Training, figures: Mapping[str, float]) -> str:
    return f"epoch {number}/{training.epochs}: " + ", ".join(f"{k} {v:.4f}" for k, v in sorted(figures.items()))


def temperature(recipe: Recipe, model: Any, x: np.ndarray, labels: np.ndarray) -> float:
    """What the validation side asks of the probabilities' scale; 1 where there are none."""
    return calibration.temperature(labels, model.predict(x, verbose=0)) if recipe.classes else 1.0


def _source(recipe: Recipe, training: Training) -> str:
    """What a change under the same version is noticed by; it is no key, since a comment retrains nothing."""
    files = [recipes.source(recipe.name), Path(train.__file__), Path(train.__file__).with_name("export.py")]
    files += [ROOT / "ratchet" / f"{contracts.module(recipe.contract.kind)}.py", Path(calibration.__file__)]
    files += [Path(train.__file__).parent / "zoo" / f"{name}.py" for name in (training.family, "ends")]
    return hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()


def _register(
    recipe: Recipe,
    training: Training,
    snapshot: Snapshot,
    fitted: train.Fitted,
    exported: export.Exported,
    test: snapshots.Split,
    run: registry.Run,
    tags: dict[str, str],
    key_: str,
    parameters: dict[str, float | int | str],
) -> Candidate:
    folder, answers = exported.path.parent, exported.answers(test.inputs)
    figure = f"test_{recipe.answers.metric}"
    metrics = {figure: recipe.answers.figure(test.targets, answers), **dict(fitted.history[-1])}
    run.metrics({figure: metrics[figure], "fit_seconds": fitted.seconds})
    run.figure(plots.curves(fitted.history), "learning_curves.png")
    counts: tuple[tuple[int, ...], ...] = ()
    if recipe.classes:
        counts = plots.counts(test.targets, answers.argmax(axis=1), len(recipe.classes))
        run.figure(plots.confusion(counts, recipe.classes), "confusion_matrix.png")
    candidate = Candidate(
        recipe.name, "", "", run.id, training.family, fitted.weights, sha256(exported.path), snapshot, parameters,
        metrics, fitted.seconds, tags["git.commit"], tags["lock.sha256"], fitted.history, counts,
        export.digest(folder / VOCABULARY), machine=machine(),
    )  # fmt: skip
    inputs = test.inputs[:8] if recipe.show_inputs else recipe.contract.example()
    version, model_id = run.register(
        fitted.model,
        [exported.path, *([folder / VOCABULARY] if candidate.vocabulary else [])],
        recipe.contract.features(inputs, exported.words),
        exported.answers(inputs),
        lock.pinned("train", _LOCKED),
        {
            KEY: "",
            "ratchet.weights": fitted.weights,
            TENSORS: fitted.tensors,
            "ratchet.onnx": candidate.onnx,
            "ratchet.vocabulary": candidate.vocabulary,
            "ratchet.contract": json.dumps(recipe.contract.to_json()),
            "ratchet.snapshot": snapshot.fingerprint,
            **tags,
        },
    )
    candidate = Candidate(**{**vars(candidate), "version": version, "model_id": model_id})
    # The key comes last: a version that is found by it is whole.
    keep(folder / CANDIDATE, to_json(candidate))
    registry.upload(registry.artifact_path(run.experiment, model_id, CANDIDATE), folder / CANDIDATE)
    registry.set_tag(recipe.name, version, KEY, key_)
    return candidate


def machine() -> str:
    """What it was trained on, for people."""
    import keras

    return (
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"Keras {keras.__version__} on {keras.backend.backend()}"
    )


def twins(candidate: Candidate) -> list[Candidate]:
    """The other candidates of the same data and parameters, which began from other weights."""
    found = registry.version(candidate.recipe, candidate.version)
    cold = found.tags.get(COLD) if found else None
    others = registry.having(candidate.recipe, COLD, cold) if cold else []
    return [read(other) for other in others if other.version != candidate.version and other.tags.get(KEY)]


def again(recipe: Recipe, candidate: Candidate, tell: Callable[[str], None]) -> str:
    """Trains it anew from its snapshot and parameters; the SHA-256 of the weights. Nothing is registered.

    Raises Refusal where the snapshot's records are no longer there.
    """
    names = {f.name for f in fields(Training)}
    own: dict[str, Any] = {k: v for k, v in candidate.parameters.items() if k not in names}
    given: dict[str, Any] = {k: v for k, v in candidate.parameters.items() if k in names}
    training = Training(**given, parameters=own)
    with tempfile.TemporaryDirectory() as scratch:
        data = ready(recipe, training, candidate.snapshot, Path(scratch))
        fitted = train.fit(recipe, training, data.train, data.held, Path(scratch),
                           lambda n, figures: tell(_epoch(n, training, figures)), data.start)  # fmt: skip
    return fitted.weights


def differs(candidate: Candidate) -> str:
    """What is another now than when it was trained, for a sentence."""
    found = [name for name, then, now in (("commit", candidate.commit, lock.commit()),
                                          ("lock", candidate.lock, lock.digest())) if then != now]  # fmt: skip
    return f"; the {' and the '.join(found)} changed since" if found else "; commit and lock are the same"


def read(version: registry.Version) -> Candidate:
    """The word that was kept beside a version. Raises Refusal where there is none."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / CANDIDATE
        registry.download(registry.beside(version, CANDIDATE), path)
        return replace(from_json(Candidate, kept(path) or {}), variants=variants_of(version))


def exported(recipe: Recipe, candidate: Candidate | registry.Version, scratch: Path) -> export.Exported:
    """The form of its export that is packaged, fetched from MLflow.

    Raises Refusal when it is not the one that was made.
    """
    if isinstance(candidate, Candidate):
        file, onnx = next(((v.file, v.onnx) for v in candidate.variants if v.packaged), (export.MODEL, candidate.onnx))
        vocabulary, contract = candidate.vocabulary, recipe.contract
    else:
        form = json.loads(candidate.tags.get(FORM, "{}"))
        file, onnx = form.get("file", export.MODEL), form.get("onnx", candidate.tags["ratchet.onnx"])
        vocabulary, told = candidate.tags.get("ratchet.vocabulary", ""), candidate.tags.get("ratchet.contract")
        contract = contracts.of(json.loads(told)) if told else recipe.contract  # its own: the recipe's may have changed
    folder = scratch / candidate.model_id / file.removesuffix(".onnx")
    path = _fetched(candidate, file, onnx, folder / export.MODEL)
    if vocabulary:
        _fetched(candidate, VOCABULARY, vocabulary, folder / VOCABULARY)
    return export.Exported(path, contract)


def variants_of(version: registry.Version) -> tuple[Variant, ...]:
    """The forms of a version's export, once decided; else none."""
    if FORM not in version.tags:
        return ()
    told = registry.read_json(registry.beside(version, FORMS))
    return tuple(from_json(Variant, one) for one in told["variants"])


def _fetched(candidate: Candidate | registry.Version, name: str, want: str, path: Path) -> Path:
    """The version's artifact of that name, at `path`, with that SHA-256."""
    if not path.exists():
        registry.download(registry.beside(candidate, name), path)
    if sha256(path) != want:
        raise Refusal(
            f"the model of version {candidate.version} is not the one that was exported",
            candidate.recipe,
            "It was changed in MLflow's artifacts; restore it, or train it again",
        )
    return path
