"""Builds a bento: the model made once, the service's few files, the lock's own requirements. No network."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bentos import golden
from ratchet import lock
from ratchet.contract import Contract, module
from ratchet.dossier import DATA, PAGE, page
from ratchet.errors import Refusal
from ratchet.recipe import Recipe
from ratchet.settings import ROOT, TELEMETRY_OFF

VERSION = 1
"""Raise it when the same package key should give another bento."""

_SERVICE = ("bentos/__init__.py", "bentos/service.py", "bentos/door.py", "bentos/protocol.py", "bentos/records.py",
            "bentos/model.py",
            "ratchet/__init__.py", "ratchet/contract.py", "ratchet/answers.py", "ratchet/errors.py",
            "ratchet/explain.py", "ratchet/session.py")  # fmt: skip


def service(contract: Contract) -> tuple[str, ...]:
    """All the code that a bento holds, by the kind of its input."""
    return (*_SERVICE, f"ratchet/{module(contract.kind)}.py")


def package_key(recipe: Recipe, onnx: str, vocabulary: str = "") -> str:
    """What makes a release a new one: the model, the service's code, the contract, the locked requirements.

    `onnx` and `vocabulary` are the SHA-256 of the model's files.
    """
    digest = hashlib.sha256()
    told = json.dumps([recipe.contract.to_json(), recipe.classes, recipe.record_inputs])
    for part in (onnx, vocabulary, told, lock.requirements("bento")):
        digest.update(hashlib.sha256(part.encode()).digest())
    for name in service(recipe.contract):
        digest.update(hashlib.sha256((ROOT / name).read_bytes()).digest())
    return digest.hexdigest()


def arm(version: str, key: str) -> str:
    """The name of what serves a version in the package of this key."""
    return f"v{version}-{key[:12]}"


def build(
    recipe: Recipe,
    version: str,
    files: Sequence[Path],
    inputs: np.ndarray,
    outputs: np.ndarray,
    labels: Mapping[str, str],
    dossier: Mapping[str, Any],
    scratch: Path,
) -> tuple[str, Path]:
    """The bento's tag and its exported `.bento` below `scratch`.

    `files` are the model and what its features need; `inputs` [N, ...] and `outputs` [N, width] are the golden
    set; `labels` name version, run, snapshot and commit. Raises Refusal when BentoML does not build it.
    """
    context, code = scratch / "context", service(recipe.contract)
    for name in code:
        (context / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, context / name)
    (context / "model").mkdir()
    for file in files:
        shutil.copyfile(file, context / "model" / file.name)
    tag = f"{recipe.name}:{arm(version, labels['package'])}"
    meta = {"format": 1, "recipe": recipe.name, "version": version, "tag": tag, "classes": recipe.classes,
            "contract": recipe.contract.to_json(), "record_inputs": recipe.record_inputs,
            "labels": dict(labels)}  # fmt: skip
    (context / "model" / "meta.json").write_text(json.dumps(meta, indent=1))
    (context / "model" / DATA).write_text(json.dumps(dossier, indent=1))
    (context / "model" / PAGE).write_text(page(dossier))
    golden.write(context / "model", inputs, outputs)
    (context / "requirements.txt").write_text(lock.requirements("bento"))
    (context / "bentofile.yaml").write_text(json.dumps({
        "service": "bentos.service:Service", "labels": dict(labels), "description": _description(recipe, version),
        "include": [*code, "model/*"],
        "python": {"requirements_txt": "requirements.txt", "lock_packages": False},
    }))  # fmt: skip
    _bentoml(scratch, "build", "--version", tag.split(":")[1], "--output", "tag", str(context))
    out = scratch / f"{tag.replace(':', '-')}.bento"
    _bentoml(scratch, "export", tag, str(out))
    return tag, out


def _description(recipe: Recipe, version: str) -> str:
    """What the service's page says, instead of BentoML's default with pictures from elsewhere."""
    classes = f" Classes: {', '.join(recipe.classes)}." if recipe.classes else ""
    return (
        f"# {recipe.name}, version {version}\n\n{recipe.purpose}\n\n"
        f"Input: {recipe.contract.describe()}.{classes}\n\n"
        f"The Open Inference Protocol v2 stands at `/v2/models/{recipe.name}`."
    )


def _bentoml(scratch: Path, *arguments: str) -> None:
    env = {**os.environ, **TELEMETRY_OFF, "BENTOML_HOME": str(scratch / "bentoml"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "bentoml", *arguments], capture_output=True, text=True, env=env, cwd=scratch
    )
    if done.returncode:
        raise Refusal(
            f"bentoml {arguments[0]} failed ({(done.stderr or done.stdout).strip()[-400:]})",
            scratch,
            "See the flow's log",
        )
