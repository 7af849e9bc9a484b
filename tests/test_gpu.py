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
from models.latency import asked, measured
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
    told = subprocess.check_output(
        ["nvidia-smi", "-i", GPUS[0], "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    )
    return int(told)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A host with its supervisord, which serves on all GPUs of this machine."""
    found = Host(Settings(home=tmp_path / "home", device="gpu"))
    found.supervisor.launch()
    yield found
    found.supervisor.shutdown()


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
        assert golden.verify(host.url(port), built.model, "gpu") == 16
    revisions = host.revisions()
    assert [revision.gpu for revision in revisions] == list(ports)
    for revision in revisions:
        seen = [processes.environment(p, "CUDA_VISIBLE_DEVICES") for p in processes.marked(host.settings.marker)
                if processes.environment(p, "RATCHET_PRIVATE_PORT") == str(revision.port)]  # fmt: skip
        assert set(seen) == {revision.gpu}
    held = in_use() - before
    print(f"one process holds {held} MiB of its GPU, and may hold 1024")
    assert 100 < held <= 1024


@pytest.mark.parametrize(("memory_mb", "says"), [(512, "CUDA itself takes"), (702, "does not run on the gpu")])
def test_a_bento_that_gets_too_little_of_its_gpu_is_not_ready_and_its_host_says_why(
    host: Host, built: Built, memory_mb: int, says: str
) -> None:
    port = next(iter(place(host, built, memory_mb).values()))
    answer = ready(port, 90)
    assert answer.status_code == 503
    assert "memory_mb" in answer.json()["next"]
    well, why = host.health("small-fashion", port)
    assert not well
    assert says in why


def test_a_form_is_measured_on_the_gpu_and_answers_as_where_it_was_made(built: Built) -> None:
    found = measure(built.exported, "gpu", GPUS[0], 1024)
    want = built.exported.answers(asked(built.exported.contract))
    off = float(np.abs(np.array(found.answers) - want).max())
    print(f"{found.latency_ms:.3f} ms an answer on the GPU, off by {off:.2g}")
    assert off <= 1e-4, "a tenth of what a golden set allows"


def test_a_form_is_not_measured_on_another_device_than_the_one_asked_for(built: Built) -> None:
    with pytest.raises(Refusal, match="it cannot be used"):
        measure(built.exported, "gpu", "-1")  # CUDA sees none


def test_batches_of_every_size_are_answered_as_where_the_model_was_made(host: Host, built: Built) -> None:
    port = next(iter(place(host, built, 1024).values()))
    assert ready(port, 90).status_code == 200
    took = []
    with httpx.Client(base_url=host.url(port), timeout=20) as client:
        kept = golden.read(built.model)
        for size in (1, 2, 3, 7, 31, 32, 33, 63, 64, 65, 130, 500):
            inputs = built.images[:size]
            started = time.perf_counter()
            found = golden.infer(client, kept, inputs)
            took.append((time.perf_counter() - started) * 1000)
            assert np.abs(found - built.exported.predict(inputs)).max() <= kept.answers.tolerance
    print(f"the first answer to each size: {np.median(took):.1f} ms, at most {max(took):.1f} ms")
