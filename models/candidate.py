"""Makes a candidate: trained on a snapshot, exported, logged and registered in MLflow."""

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from models import export, foreign, plots, registry, train, zoo
from models.training_inputs import TENSORS, NetworkInputs, training_inputs
from ratchet import charts, kinds, lock, memo, tasks, trainer
from ratchet import recipe as recipes
from ratchet.errors import Gone, Refusal
from ratchet.evaluation import calibration
from ratchet.files import load, locked, save, sha256
from ratchet.lake import forget
from ratchet.lake.ingest import lake
from ratchet.lake.snapshot import Examples
from ratchet.recipe import Recipe, Training
from ratchet.scratch import scratch_folder
from ratchet.session import VOCABULARY
from ratchet.settings import ROOT, settings
from ratchet.tasks import parts
from ratchet.types import Candidate, Snapshot, Variant, from_json, to_json

KEY = "ratchet.key"
ARTIFACT = "candidate.json"
"""The candidate as an artifact of its version; a tag would be too short for many batches."""
VARIANTS, VARIANT = "variants.json", "ratchet.variant"
"""An artifact with all variants, and a tag with the one that is packaged."""
COLD_KEY = "ratchet.cold_key"
"""A tag: the key of the candidate of the same inputs with a cold start."""
FLOW_RUN = "ratchet.flow_run"
"""A tag: the URL of the flow run that trained it."""
_LOCKED = ("keras", "tensorflow", "numpy", "mlflow", "h5py")
_LOCKED_ONNX = ("onnx", "onnxruntime", "numpy", "mlflow")
Report = Callable[[str], None]


@dataclass(frozen=True)
class _Job:
    """One training: its inputs, its key, its folder, and the tags of its run and version."""

    recipe: Recipe
    training: Training
    snapshot: Snapshot
    key: str
    folder: Path
    tags: Mapping[str, str]
    after: int

    @property
    def name(self) -> str:
        """For people, in MLflow's list of runs."""
        return f"{self.training.family}-{self.snapshot.fingerprint[:8]}-{self.key[:4]}"

    @property
    def parameters(self) -> dict[str, float | int | str]:
        own = {name: value for name, value in asdict(self.training).items() if name != "parameters"}
        return own | dict(self.training.parameters)


_NEW_FIELDS = ("frozen_epochs", "recent", "replay")
"""Those that `Training` did not always have: at their defaults they make no other key than before."""


def key(recipe: Recipe, training: Training, snapshot: Snapshot) -> str:
    """What makes a candidate a new one: snapshot, parameters, recipe version, and `train.VERSION`."""
    own: dict[str, Any] = {"recipe": recipe.name, "recipe_version": recipe.version, "snapshot": snapshot.fingerprint}
    if recipe.contract.features_version > 1:
        own["features"] = recipe.contract.features_version
    fields = {name: value for name, value in asdict(training).items() if value or name not in _NEW_FIELDS}
    return memo.key("train", train.VERSION, **own, training=json.loads(json.dumps(fields)))


def folder(recipe: Recipe, training: Training, snapshot: Snapshot) -> Path:
    """Where its epochs are kept until it is registered."""
    return settings().home / "training" / key(recipe, training, snapshot)[:16]


def make(
    recipe: Recipe, training: Training, snapshot: Snapshot, report: Report, after: int = 0, flow_run: str = ""
) -> tuple[Candidate, bool]:
    """The candidate of these inputs, and whether it was trained now or was in the registry already.

    Its version's number is above `after`, even if a person deleted or renamed the registered model: no number ever
    means two versions. `flow_run` is the URL of the run that trains it. If it is killed at any point and called again,
    it resumes after the last finished epoch.
    """
    if recipe.train:  # the family says who trained it
        training = replace(training, family=recipe.train.rpartition(":")[2])
    key_ = key(recipe, training, snapshot)
    source = _source(recipe, training)
    if version := _complete(recipe, key_, report):
        if version.tags.get("ratchet.source", source) != source:
            report(
                "the recipe's file, or the code that trains, changed under the same version, so nothing is trained "
                "again; raise the recipe's `version` to train it"
            )
        return read(version), False
    scratch = folder(recipe, training, snapshot)
    tags = {
        "git.commit": lock.commit(),
        "lock.sha256": lock.digest(),
        "recipe.version": str(recipe.version),
        "ratchet.source": source,
        **({FLOW_RUN: flow_run} if flow_run else {}),
        COLD_KEY: key(recipe, replace(training, initial_weights=""), snapshot),
    }
    with _exclusive(scratch, report):
        if version := _complete(recipe, key_, report):
            return read(version), False
        return _make(_Job(recipe, training, snapshot, key_, scratch, tags, after), report), True


def _complete(recipe: Recipe, key: str, report: Report) -> registry.Version | None:
    """The version with this key, unless a person deleted its files in MLflow: then it is trained again."""
    version = registry.newest_with_tag(recipe.name, KEY, key)
    if version and not has_files(version):
        report(f"MLflow no longer has the files of version {version.version}, so it is trained again")
        return None
    return version


def has_files(version: registry.Version) -> bool:
    """Whether MLflow still has what was kept with a version."""
    return registry.has(registry.path_of(version, ARTIFACT))


def kept(recipe: str, number: str | None) -> registry.Version | None:
    """A version that MLflow still has with its files, or None."""
    version = registry.version(recipe, number) if number else None
    return version if version and has_files(version) else None


@contextmanager
def _exclusive(scratch: Path, report: Report) -> Iterator[None]:
    """A killed run may have left a training behind on a cluster; two must not train in the same folder."""
    path = scratch.parent / ".locks" / scratch.name
    with locked(path, wait=False) as acquired:
        if acquired:
            yield
            return
    report("waiting for another run that trains the same")
    with locked(path):
        yield


def _make(job: _Job, report: Report) -> Candidate:
    recipe, training = job.recipe, job.training
    inputs = training_inputs(recipe, training, job.snapshot, job.folder)
    with registry.open_run(recipe.name, job.key, job.name, job.parameters, job.tags) as run:
        network = not zoo.trainer(recipe, training)
        size = f"{training.epochs} epochs in batches of {training.batch_size}" if network else "in its own process"
        warm = f", starting from the weights {training.initial_weights[:16]}" if inputs.initial else ""
        report(f"training {training.family} on {len(inputs.sides['train'])} records, {size}{warm}")
        registry.log_snapshot(job.snapshot, *inputs.train, lake(recipe.name) / "records")

        def on_epoch(number: int, metrics: Mapping[str, float]) -> None:
            run.metrics(metrics, number)
            report(_epoch(number, training, metrics, network))

        fitted, exported = fit(recipe, training, inputs, job.folder, on_epoch)
        candidate = _register(job, fitted, exported, inputs.sides["test"], run)
    shutil.rmtree(job.folder, ignore_errors=True)
    return candidate


def fit(
    recipe: Recipe, training: Training, inputs: NetworkInputs, folder: Path, on_epoch: train.Epoch
) -> tuple[train.Fitted, export.Exported]:
    """Trains a network in Keras, or runs the function that trains, and exports the result, calibrated."""
    if zoo.trainer(recipe, training):
        return foreign.fit(recipe, training, inputs, folder, on_epoch)
    fitted = train.fit(
        recipe, training, inputs.train, inputs.validation, folder, on_epoch, inputs.initial, inputs.sample_weights
    )
    scale = temperature(recipe, fitted.model, *inputs.validation)
    sample = inputs.sides["test"].inputs[:256]
    return fitted, export.export(recipe, fitted.model, inputs.vocabulary, sample, folder, scale)


def _epoch(number: int, training: Training, metrics: Mapping[str, float], network: bool) -> str:
    values = ", ".join(f"{name} {value:.4f}" for name, value in sorted(metrics.items()))
    return f"epoch {number}/{training.epochs}: {values}" if network else f"step {number}: {values}"


def temperature(recipe: Recipe, model: Any, features: np.ndarray, targets: np.ndarray) -> float:
    """The temperature that calibrates the model on the validation side; 1 for a task without probabilities."""
    return parts.training(recipe.answers.task).temperature(targets, model.predict(features, verbose=0))


def _source(recipe: Recipe, training: Training) -> str:
    """A digest by which a change under the same version is noticed. It is no key: a comment retrains nothing."""
    folder = Path(train.__file__).parent
    files = [recipes.source(recipe.name), folder / "train.py", folder / "export.py", Path(calibration.__file__)]
    files += [Path(kinds.part(recipe.contract.kind, part).__file__) for part in ("contract", "network")]
    files += [Path(tasks.part(recipe.answers.task, part).__file__) for part in ("answers", "training")]
    if function := zoo.trainer(recipe, training):
        files += [folder / "foreign.py", folder / "adopt.py", Path(trainer.__file__), *_module(function)]
        if recipe.requirements:
            files.append(foreign.requirements(recipe))
    else:
        files += [folder / "zoo" / f"{name}.py" for name in (training.family, "ends")]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _module(function: str) -> list[Path]:
    """The file of the module with a trainer, in a recipe folder or installed; none if it cannot be seen from here."""
    name = function.partition(":")[0].replace(".", "/")
    folders = [*settings().recipe_folders, ROOT]
    return [path for folder in folders if (path := folder / f"{name}.py").is_file()][:1]


def _register(
    job: _Job, fitted: train.Fitted, exported: export.Exported, test: Examples, run: registry.Run
) -> Candidate:
    recipe, folder, outputs = job.recipe, exported.path.parent, exported.predict(test.inputs)
    metric = f"test_{recipe.answers.metric}"
    metrics = {metric: recipe.answers.score(test.targets, outputs), **dict(fitted.history[-1])}
    run.metrics({metric: metrics[metric], "fit_seconds": fitted.seconds})
    if names := charts.curve_names(fitted.history):
        run.figure(plots.curves(fitted.history, names), "learning_curves.png")
    confusion = parts.training(recipe.answers.task).confusion(recipe.answers, test.targets, outputs)
    if confusion:
        run.figure(plots.confusion(confusion, recipe.answers.classes), "confusion_matrix.png")
    candidate = Candidate(
        recipe=recipe.name,
        version="",
        model_id="",
        run_id=run.id,
        experiment=run.experiment,
        family=job.training.family,
        weights=fitted.weights,
        onnx=sha256(exported.path),
        snapshot=job.snapshot,
        parameters=job.parameters,
        metrics=metrics,
        seconds=fitted.seconds,
        commit=job.tags["git.commit"],
        lock=job.tags["lock.sha256"],
        history=fitted.history,
        confusion=confusion,
        vocabulary=export.digest(folder / VOCABULARY),
        machine=machine(),
    )
    tags = {
        KEY: "",
        registry.EXPERIMENT: run.experiment,
        "ratchet.weights": fitted.weights,
        TENSORS: fitted.tensors,
        "ratchet.onnx": candidate.onnx,
        "ratchet.vocabulary": candidate.vocabulary,
        "ratchet.contract": json.dumps(recipe.contract.to_json()),
        "ratchet.snapshot": job.snapshot.fingerprint,
        **job.tags,
    }
    files = [exported.path, *([folder / VOCABULARY] if candidate.vocabulary else [])]
    inputs = test.inputs[:8] if recipe.show_inputs else recipe.contract.example()
    features = recipe.contract.features(inputs, exported.vocabulary)
    requirements = lock.pinned("train", _LOCKED if fitted.model else _LOCKED_ONNX)
    description = _description(job, metrics)
    version, model_id = run.register(
        fitted.model, files, features, exported.predict(inputs), requirements, tags, description, job.after
    )
    candidate = replace(candidate, version=version, model_id=model_id)
    # The key comes last: a version that is found by its key is complete.
    save(folder / ARTIFACT, to_json(candidate))
    registry.upload(registry.path_of(candidate, ARTIFACT), folder / ARTIFACT)
    registry.set_tag(recipe.name, version, KEY, job.key)
    return candidate


def _description(job: _Job, metrics: Mapping[str, float]) -> str:
    """What MLflow's page of a version shows first."""
    metric = job.recipe.answers.metric
    run = job.tags.get(FLOW_RUN, "")
    by = f"by [this run in Prefect]({run})" if run else "outside of a flow run"
    return (
        f"{job.recipe.purpose}\n\n{job.training.family}, trained on snapshot `{job.snapshot.fingerprint[:12]}` "
        f"({job.snapshot.records:,} records) {by}; {metric.replace('_', ' ')} on the test side "
        f"{metrics[f'test_{metric}']:.4f}.\n\nThe tags `ratchet.evaluation` and `ratchet.release` say what became of "
        "it; the model's artifact `model_card.html` shows everything."
    )


def machine() -> str:
    """The machine that trains, for people."""
    import keras

    where = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return f"{where}, Keras {keras.__version__} on {keras.backend.backend()}"


def siblings(candidate: Candidate) -> list[Candidate]:
    """The other candidates with the same data and parameters, which have other initial weights."""
    version = registry.version(candidate.recipe, candidate.version)
    cold_key = version.tags.get(COLD_KEY) if version else None
    others = registry.all_with_tag(candidate.recipe, COLD_KEY, cold_key) if cold_key else []
    complete = (other for other in others if other.tags.get(KEY) and has_files(other))
    return [read(other) for other in complete if other.version != candidate.version]


def reproduce(recipe: Recipe, candidate: Candidate, report: Report) -> str:
    """Trains it again from its snapshot and parameters and returns the SHA-256 of the weights; registers nothing.

    Raises Refusal if the snapshot's records are gone.
    """
    names = {field.name for field in fields(Training)}
    sizes: dict[str, Any] = {name: value for name, value in candidate.parameters.items() if name not in names}
    own: dict[str, Any] = {name: value for name, value in candidate.parameters.items() if name in names}
    training = Training(**own, parameters=sizes)
    network = not zoo.trainer(recipe, training)

    def on_epoch(number: int, metrics: Mapping[str, float]) -> None:
        report(_epoch(number, training, metrics, network))

    with scratch_folder() as folder:
        try:
            inputs = training_inputs(recipe, training, candidate.snapshot, folder)
        except Gone as refusal:
            gone = forget.gone(recipe.name, candidate.snapshot.version) or refusal.what
            raise Gone(
                f"version {candidate.version} cannot be reproduced: {gone}", recipe.name, refusal.next
            ) from refusal
        if zoo.trainer(recipe, training):
            return foreign.fit(recipe, training, inputs, folder, on_epoch)[0].weights
        sides = inputs.train, inputs.validation
        return train.fit(recipe, training, *sides, folder, on_epoch, inputs.initial, inputs.sample_weights).weights


def differs(candidate: Candidate) -> str:
    """What has changed since it was trained, as the end of a sentence."""
    now = {"commit": (candidate.commit, lock.commit()), "lock": (candidate.lock, lock.digest())}
    changed = [name for name, (then, current) in now.items() if then != current]
    return f"; the {' and the '.join(changed)} changed since" if changed else "; commit and lock are the same"


def read(version: registry.Version) -> Candidate:
    """The candidate that was kept with a version. Raises Refusal if there is none."""
    with scratch_folder() as folder:
        path = folder / ARTIFACT
        registry.download(registry.path_of(version, ARTIFACT), path)
        return replace(from_json(Candidate, load(path) or {}), variants=variants_of(version))


def exported(recipe: Recipe, candidate: Candidate | registry.Version, scratch: Path) -> export.Exported:
    """The packaged variant of its export, fetched from MLflow. Raises Refusal if it is not the file that was made."""
    if isinstance(candidate, Candidate):
        packaged = next((variant for variant in candidate.variants if variant.packaged), None)
        file, onnx = (packaged.file, packaged.onnx) if packaged else (export.MODEL, candidate.onnx)
        vocabulary, contract = candidate.vocabulary, recipe.contract
    else:
        variant = json.loads(candidate.tags.get(VARIANT, "{}"))
        file, onnx = variant.get("file", export.MODEL), variant.get("onnx", candidate.tags["ratchet.onnx"])
        vocabulary = candidate.tags.get("ratchet.vocabulary", "")
        contract = kinds.of(json.loads(candidate.tags["ratchet.contract"]))  # the recipe's may have changed
    folder = scratch / candidate.model_id / file.removesuffix(".onnx")
    path = _fetch(candidate, file, onnx, folder / export.MODEL)
    if vocabulary:
        _fetch(candidate, VOCABULARY, vocabulary, folder / VOCABULARY)
    return export.Exported(path, contract)


def variants_of(version: registry.Version) -> tuple[Variant, ...]:
    """The variants of a version's export; empty until one was chosen."""
    if VARIANT not in version.tags:
        return ()
    content = registry.read_json(registry.path_of(version, VARIANTS))
    return tuple(from_json(Variant, variant) for variant in content["variants"])


def _fetch(candidate: Candidate | registry.Version, name: str, digest: str, path: Path) -> Path:
    """The version's artifact of that name at `path`, after its SHA-256 was checked."""
    if not path.exists():
        registry.download(registry.path_of(candidate, name), path)
    if sha256(path) != digest:
        what = f"the model of version {candidate.version} is not the one that was exported"
        raise Refusal(what, candidate.recipe, "It was changed in MLflow's artifacts; restore it, or train it again")
    return path
