"""Versions with a fault: the package of the champion, changed so that its service is slow, or fails after a while."""

import json
import shutil
import tarfile
from dataclasses import dataclass, replace
from pathlib import Path

from models import registry
from ratchet.errors import Refusal
from ratchet.files import sha256
from ratchet.fleet.package_cache import MODEL, PackageCache
from ratchet.scratch import scratch_folder
from ratchet.settings import settings
from ratchet.types import Package
from releases import api
from replays.play import Act

_FILE = Path("src", "bentos", "model.py")
_BEFORE = (
    "        if isinstance(self._session, Unavailable):\n            raise self._session\n        return self._session"
)


@dataclass(frozen=True)
class Fault:
    name: str
    what: str
    code: str
    """What a prediction does first."""


SLOW = Fault("slow", "a version that takes 30 ms longer", "time.sleep(0.03)")
# A comparison takes some 400 requests, and the golden set comes before: it fails in the step after that.
FAILING = Fault(
    "failing",
    "a version of which every third answer fails after a while",
    "self.calls = getattr(self, 'calls', 0) + 1\n"
    "        if self.calls > 550 and self.calls % 3 == 0:\n"
    "            raise RuntimeError('it is broken')",
)

BY_NAME = {fault.name: fault for fault in (SLOW, FAILING)}


def applied(source: str, fault: Fault) -> str:
    """The source of the service's model with the fault. Raises Refusal for a service that is written otherwise."""
    if _BEFORE not in source:
        raise Refusal("its service is another than this fault is written for", fault.name, "Train the champion again")
    return source.replace(_BEFORE, f"        {fault.code}\n{_BEFORE}")


def act(fault: Fault) -> Act:
    """A person releases the champion's package with the fault."""
    return Act(f"a person releases {fault.what}", lambda driver: driver.release(package(driver.recipe.name, fault)))


def package(recipe: str, fault: Fault) -> Package:
    """The champion's package with the fault, as a new version that this machine has."""
    champion = api.state_of(recipe).champion
    if champion is None:
        raise Refusal("nothing serves that could have a fault", recipe, "Release a version first")
    version, cache = str(api.newest_version(recipe) + 1), PackageCache(settings())
    with cache.using(champion, registry.fetch_package) as folder, scratch_folder() as scratch:
        faulty = scratch / "bento"
        shutil.copytree(folder, faulty, symlinks=True, ignore=shutil.ignore_patterns(settings().home.name))
        source = (faulty / _FILE).read_text(encoding="utf-8")
        (faulty / _FILE).write_text(applied(source, fault), encoding="utf-8")
        meta = faulty / MODEL / "meta.json"
        meta.write_text(
            json.dumps({**json.loads(meta.read_text(encoding="utf-8")), "version": version}), encoding="utf-8"
        )
        packed = scratch / "packed.bento"
        with tarfile.open(packed, "w:xz", preset=0) as archive:
            archive.add(faulty, arcname=".")
        tag = f"{champion.tag.split(':')[0]}:v{version}-{fault.name}"
        changed = replace(champion, version=version, key=f"{champion.key}-{fault.name}", tag=tag, digest=sha256(packed))
        target = cache.packed(changed)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(packed, target)
    api.note_version(recipe, version)
    return changed
