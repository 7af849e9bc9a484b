"""Runs a trainer that is a function and ends in an ONNX file, in a process of its own, with its own environment."""

import json
import os
import shutil
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
    checkpoints = folder / "checkpoints"
    checkpoints.mkdir(parents=True, exist_ok=True)
    for earlier in folder.glob("try-*"):  # of a run that was killed
        shutil.rmtree(earlier, ignore_errors=True)
    scratch = folder / f"try-{os.getpid()}-{time.monotonic_ns()}"
    weights = inputs.sample_weights or (None, None)
    train = trainer.Side(inputs.sides["train"].inputs, *inputs.train, weights[0])
    validation = trainer.Side(inputs.sides["validation"].inputs, *inputs.validation, weights[1])
    sizes = {"epochs": training.epochs, "batch_size": training.batch_size, "learning_rate": training.learning_rate}
    job = {
        "train": zoo.trainer(recipe, training),
        "classes": recipe.answers.classes,
        "loss": parts.training(recipe.answers.task).loss(recipe.answers),
        "categories": recipe.contract.categories(),
        "checkpoints": str(checkpoints),
        "seed": training.seed,
        "seconds": _SECONDS,
        "parameters": dict(training.parameters),
        **sizes,
    }
    path, history = _run(recipe, trainer.write(scratch, train, validation, job), on_epoch)
    outputs = adopt.adopt(recipe, path, folder, inputs.vocabulary, validation.inputs, trainer.expected(scratch))
    temperature = parts.training(recipe.answers.task).temperature(validation.targets, outputs)
    exported = adopt.finish(recipe, folder, temperature)
    last = {**(history[-1] if history else {}), f"val_{metric}": recipe.answers.score(validation.targets, outputs)}
    digest = sha256(exported.path)
    return Fitted(None, (*history[:-1], last), time.monotonic() - started, digest, ""), exported


def _run(recipe: Recipe, job: Path, on_epoch: Epoch) -> tuple[Path, list[Mapping[str, float]]]:
    """The ONNX file that the function returned, and the metrics that it logged."""
    own = os.environ.get("PYTHONPATH")
    folders = [*map(str, settings().recipe_folders), str(ROOT), *([own] if own else [])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(folders), "OMP_NUM_THREADS": str(os.cpu_count() or 1)}
    env["PYTHONHASHSEED"] = "0"  # converters go through sets, and the same model should give the same file
    command, started = [*_python(recipe), "-m", "ratchet.trainer", str(job)], time.monotonic()
    history: list[Mapping[str, float]] = []
    errors = deque[str](maxlen=200)
    options: Any = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    options |= {"encoding": "utf-8", "errors": "replace", "cwd": job.parent, "env": env}
    # Its standard input stays open as long as this process lives; see `ratchet.trainer`.
    with subprocess.Popen(command, start_new_session=True, **options) as process:
        watch = threading.Timer(_SECONDS, _end, [process])
        watch.start()
        reader = threading.Thread(target=lambda: errors.extend(process.stderr or ()), daemon=True)
        reader.start()
        try:
            for line in process.stdout or ():
                if step := _step(line):
                    history.append(step[1])
                    on_epoch(*step)
        except BaseException:  # the run was cancelled, or MLflow does not answer
            _end(process)
            raise
        finally:
            watch.cancel()
        code = process.wait()
        reader.join(timeout=5)
    path = trainer.result(job.parent)
    if path is None:  # otherwise a library may have crashed when the interpreter ended
        lines = [line.strip() for line in errors if line.strip()]
        late = f"it was stopped after {_SECONDS // 3600} hours" if time.monotonic() - started >= _SECONDS else ""
        reason = late or (lines[-1][:300] if lines else f"it ended with {code} and returned nothing")
        raise Refusal(f"the trainer failed ({reason})", recipe.train or recipe.name, "Correct it, and run it alone")
    if not path.is_file():
        raise Refusal("the trainer returned no file", path.name, "Return the path of an ONNX file")
    return path, history


def requirements(recipe: Recipe) -> Path:
    """The recipe's file of requirements. Raises Refusal if it is in no recipe folder."""
    paths = (folder / recipe.requirements for folder in settings().recipe_folders)
    if path := next((path for path in paths if path.is_file()), None):
        return path
    raise Refusal("there is no such file of requirements", recipe.requirements, "Put it beside the recipe")


def _python(recipe: Recipe) -> list[str]:
    """This interpreter, or one with the recipe's own requirements."""
    if not recipe.requirements:
        return [sys.executable]
    uv = str(Path(sys.executable).with_name("uv"))
    options = ["--no-project", "--isolated", "--quiet", "--python", sys.executable]
    return [uv, "run", *options, "--with-requirements", str(requirements(recipe)), "python"]


def _end(process: subprocess.Popen[str]) -> None:
    """Ends the trainer and what it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _step(line: str) -> tuple[int, Mapping[str, float]] | None:
    """What the function logged; None for what it prints."""
    try:
        logged = json.loads(line)
        return int(logged["step"]), {str(name): float(value) for name, value in logged["metrics"].items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
