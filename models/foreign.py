"""Runs a trainer that is a function and ends in an ONNX file, in a process of its own, with its own environment."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from models import adopt, zoo
from models.export import Exported
from models.train import Epoch, Fitted
from models.training_inputs import NetworkInputs
from ratchet import trainer
from ratchet.errors import Refusal
from ratchet.files import sha256
from ratchet.recipe import Recipe, Training
from ratchet.settings import ROOT, settings
from ratchet.tasks import parts

_SECONDS = 12 * 3600
"""After which a trainer is stopped."""


def fit(
    recipe: Recipe, training: Training, inputs: NetworkInputs, folder: Path, on_epoch: Epoch
) -> tuple[Fitted, Exported]:
    """The fitted model, which has no Keras model, and its export.

    Raises Refusal if the function fails, ends in no ONNX file, or in one that cannot be served.
    """
    started, metric = time.monotonic(), recipe.answers.metric
    scratch = folder / "trainer"
    train = trainer.Side(inputs.sides["train"].inputs, *inputs.train)
    validation = trainer.Side(inputs.sides["validation"].inputs, *inputs.validation)
    sizes = {"epochs": training.epochs, "batch_size": training.batch_size, "learning_rate": training.learning_rate}
    job = {
        "train": zoo.trainer(recipe, training),
        "classes": recipe.answers.classes,
        "categories": recipe.contract.categories(),
        "seed": training.seed,
        "seconds": _SECONDS,
        "parameters": {**sizes, **training.parameters},
    }
    path, history = _run(recipe, trainer.write(scratch, train, validation, job), on_epoch)
    own = trainer.expected(scratch)
    outputs = adopt.adopt(recipe, path, folder, inputs.vocabulary, validation.inputs, own)
    temperature = parts.training(recipe.answers.task).temperature(validation.targets, outputs)
    exported = adopt.finish(recipe, folder, temperature)
    last = {**(history[-1] if history else {}), f"val_{metric}": recipe.answers.score(validation.targets, outputs)}
    weights = sha256(exported.path)
    return Fitted(None, (*history[:-1], last), time.monotonic() - started, weights, ""), exported


def _run(recipe: Recipe, job: Path, on_epoch: Epoch) -> tuple[Path, list[Mapping[str, float]]]:
    """The ONNX file that the function made, and the metrics that it logged."""
    folders = [*map(str, settings().recipe_folders), str(ROOT)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(folders), "OMP_NUM_THREADS": str(os.cpu_count() or 1)}
    env["PYTHONHASHSEED"] = "0"  # converters go through sets, and the same model should give the same file
    command = [*_python(recipe), "-m", "ratchet.trainer", str(job)]
    history: list[Mapping[str, float]] = []
    result, errors = "", deque[str](maxlen=200)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, cwd=job.parent,
        start_new_session=True,
    ) as process:  # fmt: skip
        watch = threading.Timer(_SECONDS, _end, [process])
        watch.start()
        reader = threading.Thread(target=lambda: errors.extend(process.stderr or ()), daemon=True)
        reader.start()
        try:
            for line in process.stdout or ():
                said = _json(line)
                if "metrics" in said:
                    history.append(said["metrics"])
                    on_epoch(int(said["step"]), said["metrics"])
                result = said.get("onnx", result)
        finally:
            watch.cancel()
            if process.poll() is None and not result:
                _end(process)  # the flow run was cancelled
        code = process.wait()
        reader.join(timeout=5)
    if not result:  # a library may crash when the interpreter ends, after the function returned
        lines = [line.strip() for line in errors if line.strip()]
        reason = lines[-1][:300] if lines else f"it ended with {code} and returned nothing"
        raise Refusal(
            f"the trainer failed ({reason})", recipe.train or recipe.name, "See the flow's log, or run it alone"
        )
    if not (path := job.parent / result).is_file():
        raise Refusal("the trainer returned no file", result, "Return the path of an ONNX file")
    return path, history


def _python(recipe: Recipe) -> list[str]:
    """This interpreter, or one with the recipe's own requirements."""
    if not recipe.requirements:
        return [sys.executable]
    path = next((folder / recipe.requirements for folder in settings().recipe_folders
                 if (folder / recipe.requirements).is_file()), None)  # fmt: skip
    if path is None:
        raise Refusal("there is no such file of requirements", recipe.requirements, "Put it beside the recipe")
    uv = str(Path(sys.executable).with_name("uv"))
    return [uv, "run", "--no-project", "--isolated", "--quiet", "--with-requirements", str(path), "python"]


def _end(process: subprocess.Popen[str]) -> None:
    """Ends the trainer and what it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _json(line: str) -> dict[str, Any]:
    try:
        said = json.loads(line)
    except ValueError:  # what the function prints
        return {}
    return said if isinstance(said, dict) else {}
