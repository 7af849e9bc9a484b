"""Builds a bento: the exported model, the service's few files, and the locked requirements. It needs no network."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from bentos import golden
from ratchet import kinds, lock, tasks
from ratchet.endpoints import model as model_path
from ratchet.errors import Refusal
from ratchet.model_card import DATA, PAGE, to_html
from ratchet.recipe import Recipe
from ratchet.settings import ROOT, TELEMETRY_OFF

VERSION = 2
"""Raise it when the same package key should give another bento."""

# As a module of this package it would hide the package that is built, which has the same name.
_BUILD = """
import sys
from bentoml import bentos
context, version, file = sys.argv[1:]
bentos.build_bentofile(build_ctx=context, version=version).export(file)
"""

_SERVICE = (
    "bentos/__init__.py", "bentos/admission.py", "bentos/caller.py", "bentos/disk.py", "bentos/feedback.py",
    "bentos/grpc_messages.py", "bentos/inference.py", "bentos/model.py", "bentos/openapi.py", "bentos/operations.py",
    "bentos/prediction_log.py", "bentos/predictions.py", "bentos/protocol.py", "bentos/recent_answers.py",
    "bentos/request_body.py", "bentos/request_guard.py", "bentos/rpc.py", "bentos/segments.py", "bentos/service.py",
    "ratchet/__init__.py",
    "ratchet/answers.py", "ratchet/attribution.py", "ratchet/contract.py", "ratchet/endpoints.py", "ratchet/errors.py",
    "ratchet/extension.py", "ratchet/session.py", "ratchet/tensors.py",
)  # fmt: skip


@dataclass(frozen=True)
class Contents:
    """What goes into a bento beside the service's code."""

    files: Sequence[Path]
    """The model, and what its features need."""
    inputs: np.ndarray
    """The golden set's inputs [N, ...]."""
    outputs: np.ndarray
    """The golden set's outputs [N, width]."""
    labels: Mapping[str, str]
    """Package key, version, run, snapshot and commit."""
    card: Mapping[str, Any]


def service_files(recipe: Recipe) -> Mapping[str, Path]:
    """All code of a bento, by its place there: the service's, and that of the recipe's kind of input and task."""
    own = {**kinds.bento_files(recipe.contract.kind), **tasks.bento_files(recipe.answers.task)}
    return {**{name: ROOT / name for name in _SERVICE}, **own}


def package_key(recipe: Recipe, onnx: str, vocabulary: str = "") -> str:
    """What makes a release a new one: the model, the service's code, the contract, the locked requirements.

    `onnx` and `vocabulary` are the SHA-256 of the model's files.
    """
    digest = hashlib.sha256()
    meaning = json.dumps([recipe.contract.to_json(), recipe.answers.to_json(), recipe.record_inputs, _log(recipe)])
    for part in (onnx, vocabulary, meaning, lock.requirements("bento")):
        digest.update(hashlib.sha256(part.encode()).digest())
    for file in service_files(recipe).values():
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _log(recipe: Recipe) -> dict[str, Any]:
    """The rules of its prediction log."""
    return {"sample": recipe.log.sample, "inputs": recipe.log.inputs, "redact": list(recipe.log.redact)}


def revision(version: str, key: str) -> str:
    """The name of a version in the package with this key."""
    return f"v{version}-{key[:12]}"


def build(recipe: Recipe, version: str, contents: Contents, scratch: Path) -> tuple[str, Path]:
    """Builds a bento and exports it below `scratch`: its tag and the `.bento` file. Raises Refusal if BentoML fails."""
    context, code = scratch / "context", service_files(recipe)
    for name, file in code.items():
        (context / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, context / name)
    model = context / "model"
    model.mkdir()
    for file in contents.files:
        shutil.copyfile(file, model / file.name)
    labels = dict(contents.labels)
    tag = f"{recipe.name}:{revision(version, labels['package'])}"
    served = {"recipe": recipe.name, "version": version, "tag": tag, "task": recipe.answers.to_json()}
    inputs = {"contract": recipe.contract.to_json(), "record_inputs": recipe.record_inputs}
    meta = {"format": 2, **served, **inputs, "log": _log(recipe), "labels": labels}
    (model / "meta.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")
    (model / DATA).write_text(json.dumps(contents.card, indent=1), encoding="utf-8")
    (model / PAGE).write_text(to_html(contents.card), encoding="utf-8")
    golden.write(model, contents.inputs, contents.outputs)
    (context / "requirements.txt").write_text(lock.requirements("bento"), encoding="utf-8")
    service = {"service": "bentos.service:Service", "labels": labels, "description": _description(recipe, version)}
    python = {"requirements_txt": "requirements.txt", "lock_packages": False}
    bentofile = {**service, "include": [*code, "model/*"], "python": python}
    # JSON is no substitute: it writes an emoji as two halves, which YAML refuses.
    (context / "bentofile.yaml").write_text(yaml.safe_dump(bentofile), encoding="utf-8")
    bento = scratch / f"{tag.replace(':', '-')}.bento"
    _run_bentoml(scratch, context, tag.split(":")[1], bento)
    return tag, bento


def _description(recipe: Recipe, version: str) -> str:
    """The text of the service's page. BentoML's default text loads pictures from elsewhere."""
    parameters = (f"{name}: {value}" for name, value in recipe.answers.parameters().items())
    return (
        f"# {recipe.name}, version {version}\n\n{recipe.purpose}\n\n"
        f"Input: {recipe.contract.describe()}. Output: {recipe.answers.task}; {', '.join(parameters)}.\n\n"
        f"The Open Inference Protocol v2 is served at `{model_path(recipe.name)}`."
    )


def _run_bentoml(scratch: Path, context: Path, version: str, bento: Path) -> None:
    """Builds what is in `context`, and exports it; one process does both, and has a store of its own."""
    env = {**os.environ, **TELEMETRY_OFF, "BENTOML_HOME": str(scratch / "bentoml"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", _BUILD, str(context), version, str(bento)]
    process = subprocess.run(command, capture_output=True, text=True, env=env, cwd=scratch)
    if process.returncode:
        output = (process.stderr or process.stdout).strip()[-400:]
        raise Refusal(f"BentoML failed ({output})", scratch, "See the flow's log")
