"""Homes, recipes and models for the tests. Everything real; only time and faults are simulated."""

from __future__ import annotations

import dataclasses
import itertools
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest

from models.export import Exported
from ratchet import recipe as recipes
from ratchet import settings as settings_module
from ratchet.fleet.host import port_is_free
from ratchet.kinds.image import ImageContract
from ratchet.recipe import Recipe

HERE = Path(__file__).parent
ROOT = HERE.parent
hypothesis.settings.register_profile("ratchet", deadline=None)  # the machine may be busy
hypothesis.settings.load_profile("ratchet")
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
os.environ.update(settings_module.TELEMETRY_OFF)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that run stacks come first: they take the longest, and there is a core for each of two."""
    first = ["test_fleet.py", "test_loop.py", "test_three.py", "test_closed_loop.py", "test_remote.py",
             "test_crashes.py", "test_search.py", "test_killed.py", "test_buttons.py",
             "test_replay_stack.py"]  # fmt: skip
    items.sort(key=lambda item: first.index(item.path.name) if item.path.name in first else len(first))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty home of its own, with the tests' recipes."""
    yield from _home(tmp_path / "home", monkeypatch)


@pytest.fixture(scope="module")
def module_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        yield from _home(tmp_path_factory.mktemp("home"), patch)


def _home(path: Path, patch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name in [n for n in os.environ if n.startswith("RATCHET_")]:
        patch.delenv(name)
    patch.setenv("RATCHET_HOME", str(path))
    patch.setenv("RATCHET_RECIPES", str(HERE / "recipes"))
    settings_module.settings.cache_clear()
    yield path
    settings_module.settings.cache_clear()


@pytest.fixture
def small(home: Path) -> Recipe:
    return recipes.load("small-fashion")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, each given once.

    The kernel gives none of them to an outgoing connection, and no other process of this test run is given them: a
    server may take them a minute later.
    """
    return list(itertools.islice(filter(port_is_free, _PORTS), count))


def _ports() -> Iterator[int]:
    first = 10000 + 1000 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    start = random.SystemRandom().randrange(1000)
    for number in itertools.count(start):
        yield first + number % 1000


_PORTS = _ports()


def host_alone(folder: Path, *more: str) -> Path:
    """An environment that holds the group of a host alone, from the lock; the folder of its commands."""
    env = {**os.environ, "UV_PROJECT_ENVIRONMENT": str(folder), "UV_PYTHON": sys.executable}
    env.pop("VIRTUAL_ENV", None)
    command = [sys.executable, "-m", "uv", "sync", "--frozen", "--no-default-groups", "--group", "host", "--quiet"]
    subprocess.run([*command, *more], check=True, env=env, cwd=ROOT)
    return folder / "bin"


@pytest.fixture(scope="session")
def pictures() -> tuple[np.ndarray, np.ndarray]:
    """The first 3,000 real training images [N, 28, 28] and their labels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RATCHET_HOME", "/nonexistent")
        settings_module.settings.cache_clear()
        from ratchet.kinds.image import sources
        from ratchet.lake.fetch import fetch

        data = recipes.load("fashion-mnist").data
        names = list(data.files)
        images = sources.idx(fetch(data, names[0]))[:3000]
        labels = sources.idx(fetch(data, names[1]))[:3000]
    settings_module.settings.cache_clear()
    return images, labels


@dataclasses.dataclass(frozen=True)
class Built:
    """A real bento of a briefly trained model, exported once for all tests."""

    tag: str
    bento: Path
    folder: Path
    exported: Exported
    images: np.ndarray

    @property
    def model(self) -> Path:
        return self.folder / "src" / "model"


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, pictures: tuple[np.ndarray, np.ndarray]) -> Built:
    """Trained, exported and built in a process of its own: TensorFlow stays out of this one."""
    scratch = tmp_path_factory.mktemp("built")
    np.savez(scratch / "pictures.npz", images=pictures[0], labels=pictures[1])
    code = """
import sys, numpy as np
from dataclasses import replace
from pathlib import Path
from bentos import build
from models import export, train
from ratchet import model_card
from ratchet import recipe as recipes
from ratchet.types import Candidate, CardSources, EvaluationReport, Snapshot
scratch = Path(sys.argv[1])
recipe = recipes.load("small-fashion")
data = np.load(scratch / "pictures.npz")
x, y = data["images"], data["labels"]
once = replace(recipe.training, epochs=1)
z = recipe.contract.features(x)
fitted = train.fit(recipe, once, (z[:2500], y[:2500]), (z[2500:], y[2500:]), scratch / "fit")
(scratch / "out").mkdir()
model = export.export(recipe, fitted.model, (), x[:64], scratch / "out")
digest = export.digest(model.path)
labels = {"package": build.package_key(recipe, digest), "model": recipe.name, "version": "1", "run": "r",
          "snapshot": "s", "commit": "c"}
inputs = x[2500:2516]
snapshot = Snapshot(recipe.name, 0, "s", 3000, ("b",), {})
candidate = Candidate(
    recipe.name, "1", "m", "r", "0", "cnn", "w", digest, snapshot, {}, {}, 1.0, "c", "l", fitted.history
)
report = EvaluationReport(recipe.name, "1", None, True, "built for tests", "b", ())
card = model_card.to_data(recipe, CardSources(candidate, report))
contents = build.Contents([model.path], inputs, model.predict(inputs), labels, card)
tag, bento = build.build(recipe, "1", contents, scratch)
print(tag); print(bento)
"""
    env = {**os.environ, "RATCHET_RECIPES": str(HERE / "recipes"), "RATCHET_HOME": str(scratch / "home")}
    done = subprocess.run([sys.executable, "-c", code, str(scratch)], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    tag, bento = done.stdout.strip().splitlines()[-2:]
    folder = scratch / "unpacked"
    shutil.unpack_archive(bento, folder, format="xztar")
    exported = Exported(scratch / "out" / "model.onnx", ImageContract(28, 28))
    return Built(tag, Path(bento), folder, exported, pictures[0][2500:])
