"""On a host's own queue: what one answer takes there, of every form of a version. Nothing is served or changed."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from prefect import flow, get_run_logger
from prefect.states import Completed

from flows import runs
from flows.refusals import refusals_are_states
from models import export, registry
from models.judge.variants import Took
from models.measure import EXPECTED, KEPT, measured
from ratchet import contract as contracts
from ratchet.errors import Refusal
from ratchet.files import sha256
from ratchet.fleet.host import Host
from ratchet.session import VOCABULARY
from ratchet.settings import settings
from ratchet.words import Candidate, Variant
from releases import requests


@flow(name="measure", flow_run_name="{recipe} version {version}", persist_result=False)
@refusals_are_states
def measure(recipe: str, version: str, files: dict[str, list[str]], memory_mb: int = 0) -> Any:
    """Fetches each of `files` (a variant's name, to its file and SHA-256) and asks it, warm, one input at a time.

    It takes no more than `memory_mb` of a GPU, and the first that this host may use. What it found is kept beside the
    version in MLflow, as `measured.json`.
    """
    found = registry.version(recipe, version)
    if found is None:
        raise Refusal("MLflow has no such version", f"version {version} of {recipe}", "Run the loop anew")
    contract = contracts.of(json.loads(found.tags["ratchet.contract"]))
    want = registry.read_json(registry.beside(found, EXPECTED))["answers"]
    told, why, gpu = {}, "", Host(settings()).gpus[0]
    for name, (file, digest) in files.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / export.MODEL
            registry.download(registry.beside(found, file), path)
            if sha256(path) != digest:
                raise Refusal("the file is not the one that was made", f"{file} of version {version}", "Run it anew")
            if found.tags.get("ratchet.vocabulary"):
                registry.download(registry.beside(found, VOCABULARY), path.with_name(VOCABULARY))
            try:
                took = measured(export.Exported(path, contract), settings().device, gpu, memory_mb)
            except Refusal as refusal:  # the others may do
                why = str(refusal)
                get_run_logger().warning("%s is left out: %s", name, refusal)
                continue
        off = float(np.abs(np.array(took.answers) - np.array(want[name])).max())
        told[name] = {"milliseconds": took.milliseconds, "megabytes": took.megabytes, "off": off}
        get_run_logger().info("%s: %.3f ms, answers off by at most %.2g", name, took.milliseconds, off)
    if not told:
        raise Refusal(f"no form of it answers here ({why})", f"version {version} of {recipe}", "See the run's log")
    host, device = settings().host_name, settings().device
    kept = {"format": 1, "host": host, "device": device, "variants": told}
    registry.upload(registry.beside(found, KEPT), json.dumps(kept, indent=1))
    best = min(told, key=lambda name: told[name]["milliseconds"])
    return Completed(message=f"{best} is the fastest on {host}, on its {device}: {told[best]['milliseconds']:.3f} ms")


def on_a_host(candidate: Candidate, made: tuple[Variant, ...], memory_mb: int) -> tuple[str, dict[str, Took]]:
    """What each form takes on one named host of the pool; or why nobody measured it."""
    from models import variants  # needs more than a host has

    alive = requests.hosts()
    host = settings().measure_host or min(alive, default="")
    if host not in alive:
        return f"no host: {host or 'none'} is alive", {}
    files = {v.name: [v.file, v.onnx] for v in made if v.onnx}
    asked: dict[str, object] = {"recipe": candidate.recipe, "version": candidate.version, "files": files,
                                "memory_mb": memory_mb}  # fmt: skip
    try:
        run = runs.wait(runs.start("measure/gpu", asked, queue=host), settings().warm_seconds, still=lambda: True)
        if run.state != "completed":
            return f"no host: {run.message[:300]} (on {host})", {}
        return variants.took(candidate)
    except Refusal as refusal:
        return f"no host: {refusal}", {}
