"""What a GPU host does, on a real GPU: skipped where there is none, and on CPUs the other tests say what they can."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from bentos import golden
from models.latency import measure, sample_inputs
from ratchet.errors import Refusal
from ratchet.files import sha256
from ratchet.fleet import processes
from ratchet.fleet.host import Host
from ratchet.settings import Settings
from ratchet.types import Package
from tests.bentos import ready
from tests.conftest import Built

GPUS = Host(Settings(device="gpu")).gpus
pytestmark = pytest.mark.skipif(GPUS == ("",), reason="no NVIDIA GPU here")


def in_use() -> int:
    """MiB of the first GPU that anybody holds."""
    used = subprocess.check_output(
        ["nvidia-smi", "-i", GPUS[0], "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    )
    return int(used)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A host with its supervisord, which serves on all GPUs of this machine."""
    host = Host(Settings(home=tmp_path / "home", device="gpu"))
    host.supervisor.launch()
    yield host
    host.supervisor.shutdown()


def place(host: Host, built: Built, memory_mb: int) -> dict[str, int]:
    """Starts the bento with so much memory; its processes' ports by GPU."""
    package = Package("small-fashion", "1", "key", built.tag, sha256(built.bento), "made here", memory_mb)

    def fetch(_: Package, to: Path) -> None:
        shutil.copyfile(built.bento, to)

    return dict(zip(host.gpus, host.start(package, fetch), strict=True))


def test_a_revision_answers_its_golden_set_from_a_process_on_each_gpu(host: Host, built: Built) -> None:
    before, ports = in_use(), place(host, built, 1024)
    assert tuple(ports) == GPUS
    for port in ports.values():
        assert ready(port, 90).status_code == 200
        assert golden.verify(host.url(port), built.model, "gpu").count == 16
    endpoints = host.endpoints()
    assert [endpoint.gpu for endpoint in endpoints] == list(ports)
    for endpoint in endpoints:
        seen = [processes.environment(p, "CUDA_VISIBLE_DEVICES") for p in processes.marked(host.settings.marker)
                if processes.environment(p, "RATCHET_PRIVATE_PORT") == str(endpoint.port)]  # fmt: skip
        assert set(seen) == {endpoint.gpu}
    held = in_use() - before
    print(f"one process holds {held} MiB of its GPU, and may hold 1024")
    assert 100 < held <= 1024


@pytest.mark.parametrize(("memory_mb", "message"), [(512, "CUDA itself takes"), (702, "which cannot be used")])
def test_a_bento_that_gets_too_little_of_its_gpu_is_not_ready_and_its_host_says_why(
    host: Host, built: Built, memory_mb: int, message: str
) -> None:
    port = next(iter(place(host, built, memory_mb).values()))
    answer = ready(port, 90)
    assert answer.status_code == 503
    assert "memory_mb" in answer.json()["next"]
    well, why = host.health("small-fashion", port)
    assert not well
    assert message in why


def test_a_variant_is_measured_on_the_gpu_and_its_outputs_are_those_of_a_cpu(built: Built) -> None:
    measurement = measure(built.exported, "gpu", GPUS[0], 1024)
    expected = built.exported.predict(sample_inputs(built.exported.contract))
    difference = float(np.abs(np.array(measurement.outputs) - expected).max())
    print(f"{measurement.latency_ms:.3f} ms on the GPU, outputs differ by {difference:.2g}")
    assert difference <= 1e-4, "a tenth of what a golden set allows"


def test_a_variant_is_measured_on_no_other_device_than_the_requested_one(built: Built) -> None:
    with pytest.raises(Refusal, match="cannot be used"):
        measure(built.exported, "gpu", "-1")  # CUDA sees none


def test_batches_of_every_size_have_the_outputs_of_a_cpu(host: Host, built: Built) -> None:
    port = next(iter(place(host, built, 1024).values()))
    assert ready(port, 90).status_code == 200
    took = []
    with httpx.Client(base_url=host.url(port), timeout=20) as client:
        expected = golden.read(built.model)
        for size in (1, 2, 3, 7, 31, 32, 33, 63, 64, 65, 130, 500):
            inputs = built.images[:size]
            started = time.perf_counter()
            outputs = golden.infer(client, expected, inputs)
            took.append((time.perf_counter() - started) * 1000)
            assert np.abs(outputs - built.exported.predict(inputs)).max() <= expected.answers.tolerance
    print(f"the first answer to each size: {np.median(took):.1f} ms, at most {max(took):.1f} ms")
