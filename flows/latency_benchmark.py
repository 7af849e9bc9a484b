"""The latency benchmark of a version's variants, on a host's own queue. Nothing is served or changed."""

import json
from typing import Any

import numpy as np
from prefect import flow
from prefect.states import Completed

from flows import runs
from flows.log import log
from flows.refusals import refusals_are_states
from models import export, registry
from models.latency import EXPECTED, RESULT, Measurement, measure
from ratchet import kinds
from ratchet.contract import Contract
from ratchet.errors import Refusal
from ratchet.evaluation.variants import Timing
from ratchet.files import FORMAT, sha256
from ratchet.fleet.host import Host
from ratchet.scratch import scratch_folder
from ratchet.session import VOCABULARY
from ratchet.settings import settings
from ratchet.types import Candidate, Variant
from releases import api


@flow(name="latency-benchmark", flow_run_name="{recipe} version {version}", persist_result=False)
@refusals_are_states
def latency_benchmark(recipe: str, version: str, files: dict[str, list[str]], memory_mb: int = 0) -> Any:
    """Measures each of `files` (the name of a variant, with its file and SHA-256), warm, one input at a time.

    It takes at most `memory_mb` of this host's first GPU. The result is kept with the version in MLflow.
    """
    registered, which = registry.version(recipe, version), f"version {version} of {recipe}"
    if registered is None:
        raise Refusal("MLflow has no such version", which, "Run the loop again")
    contract = kinds.of(json.loads(registered.tags["ratchet.contract"]))
    expected = registry.read_json(registry.path_of(registered, EXPECTED))["outputs"]
    timings, why = {}, ""
    for name, (file, digest) in files.items():
        try:
            measurement = _measure(registered, contract, file, digest, memory_mb)
        except Refusal as refusal:  # the other variants may run
            why = str(refusal)
            log.warning("%s is left out: %s", name, refusal)
            continue
        difference = float(np.abs(np.array(measurement.outputs) - np.array(expected[name])).max())
        costs = {"latency_ms": measurement.latency_ms, "memory_mb": measurement.memory_mb}
        timings[name] = {**costs, "difference": difference}
        log.info("%s: %.3f ms, outputs differ by at most %.2g", name, measurement.latency_ms, difference)
    if not timings:
        raise Refusal(f"no variant of it runs here ({why})", which, "See the run's log")
    host, device = settings().host_name, settings().device
    result = {"format": FORMAT, "host": host, "device": device, "variants": timings}
    registry.upload(registry.path_of(registered, RESULT), json.dumps(result, indent=1))
    best = min(timings, key=lambda name: timings[name]["latency_ms"])
    fastest = timings[best]["latency_ms"]
    return Completed(message=f"{best} is the fastest on {host}, on its {device}: {fastest:.3f} ms")


def _measure(registered: registry.Version, contract: Contract, file: str, digest: str, memory_mb: int) -> Measurement:
    with scratch_folder() as folder:
        path = folder / export.MODEL
        registry.download(registry.path_of(registered, file), path)
        if sha256(path) != digest:
            which = f"{file} of version {registered.version}"
            raise Refusal("the file's SHA-256 is not the one that was registered", which, "Run the loop again")
        if registered.tags.get("ratchet.vocabulary"):
            registry.download(registry.path_of(registered, VOCABULARY), path.with_name(VOCABULARY))
        gpu = Host(settings()).gpus[0]
        return measure(export.Exported(path, contract), settings().device, gpu, memory_mb)


def on_a_host(candidate: Candidate, variants: tuple[Variant, ...], memory_mb: int) -> tuple[str, dict[str, Timing]]:
    """The name of a host of the pool with the timing of each variant; or why there is none."""
    from models import variants as results  # it needs more than a host has installed

    living = api.living_hosts()
    host = settings().benchmark_host or min(living, default="")
    if host not in living:
        return f"no host: {host or 'none'} is alive", {}
    parameters: dict[str, object] = {
        "recipe": candidate.recipe,
        "version": candidate.version,
        "files": {variant.name: [variant.file, variant.onnx] for variant in variants if variant.onnx},
        "memory_mb": memory_mb,
    }
    try:
        id = runs.start("latency-benchmark/gpu", parameters, queue=host)
        run = runs.wait(id, settings().warm_seconds)
        if run.state != "completed":
            return f"no host: {run.message[:300]} (on {host})", {}
        return results.timings(candidate)
    except Refusal as refusal:
        return f"no host: {refusal}", {}
