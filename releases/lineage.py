"""The chain from a batch to the process that answers; each link is checked by its digest now."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from models import candidate as candidates
from models import export, registry
from ratchet.endpoints import model as model_path
from ratchet.errors import Refusal
from ratchet.files import sha256
from ratchet.fleet.package_cache import MODEL, PackageCache
from ratchet.lake import snapshot as snapshots
from ratchet.local_http import LOCAL
from ratchet.recipe import Recipe
from ratchet.scratch import scratch_folder
from ratchet.settings import settings
from ratchet.types import Candidate, Package, from_json
from releases import api


@dataclass(frozen=True)
class Link:
    """One link of the chain; `holds` is None if there is nothing to check yet."""

    name: str
    digest: str
    holds: bool | None
    detail: str


def chain(recipe: Recipe, version: registry.Version) -> Iterator[Link]:
    """Data, weights, export, benchmark, bento and responses. Raises Refusal if MLflow does not answer."""
    candidate = candidates.read(version)
    yield _checked("snapshot", candidate.snapshot.fingerprint, lambda: _snapshot(recipe, candidate))
    holds = version.tags.get("ratchet.weights", "") == candidate.weights
    yield Link("weights", candidate.weights, holds, f"{candidate.family}, compared with the version's tag")
    with scratch_folder() as folder:
        yield _checked("export", candidate.packaged, lambda: _export(recipe, version, folder))
    if "ratchet.benchmark" in version.tags:
        yield _checked("benchmark", version.tags["ratchet.benchmark"], lambda: _benchmark(recipe, version))
    else:
        yield Link("benchmark", "", None, "the version was not evaluated")
    if "ratchet.package" not in version.tags:
        why = version.tags.get("ratchet.evaluation_why", "the version was not evaluated")
        yield Link("bento", "", None, f"none was built: {why}")
        return
    package = from_json(Package, json.loads(version.tags["ratchet.package"]))
    yield _checked("bento", package.digest, lambda: _bento(candidate, package))
    yield _responses(recipe, package)


def _checked(name: str, digest: str, check: Callable[[], str]) -> Link:
    try:
        return Link(name, digest, True, check())
    except Refusal as refusal:
        return Link(name, digest, False, str(refusal))


def _snapshot(recipe: Recipe, candidate: Candidate) -> str:
    sides = snapshots.load(recipe, candidate.snapshot)
    sizes = ", ".join(f"{len(examples)} {side}" for side, examples in sides.items())
    batches = ", ".join(candidate.snapshot.batches)
    return f"{candidate.snapshot.records} records of batches {batches}: {sizes}"


def _export(recipe: Recipe, version: registry.Version, scratch: Path) -> str:
    exported = candidates.exported(recipe, version, scratch)
    variant = json.loads(version.tags.get(candidates.VARIANT, "{}")).get("name", "fp32")
    words = f", with a vocabulary of {len(exported.vocabulary)} words" if exported.vocabulary else ""
    return f"the {variant} variant in MLflow{words}"


def _benchmark(recipe: Recipe, version: registry.Version) -> str:
    benchmark, fingerprint = snapshots.load_benchmark(recipe)
    if fingerprint != version.tags.get("ratchet.benchmark"):
        raise Refusal("it was evaluated on another benchmark", fingerprint[:16], "Run the loop again")
    return f"{len(benchmark)} inputs; {version.tags.get('ratchet.evaluation', 'not evaluated')}"


def _bento(candidate: Candidate, package: Package) -> str:
    cache = PackageCache(settings())
    with cache.using(package, registry.fetch_package) as folder:
        if changed := cache.changed(package):
            what = f"{', '.join(changed[:5])} changed after it was unpacked"
            raise Refusal(what, folder, "Remove that folder; the host unpacks it again")
        if sha256(folder / MODEL / export.MODEL) != candidate.packaged:
            raise Refusal("the model in the bento is not the version's export", package.tag, "Build it again")
    return f"{package.tag}, with that export"


def _responses(recipe: Recipe, package: Package) -> Link:
    """What the gateway's responses say about themselves; a version that does not serve has none."""
    champion = api.state_of(recipe.name).champion
    if champion is None or champion.tag != package.tag:
        return Link("responses", "", None, "the version does not serve now")
    url = f"{settings().gateway_url}{model_path(recipe.name)}"
    try:
        tag = httpx.get(url, timeout=5, **LOCAL).headers.get("x-bento", "nothing")
    except httpx.HTTPError as error:
        return Link("responses", "", False, f"the gateway did not respond ({type(error).__name__})")
    return Link("responses", package.digest, tag == package.tag, f"{url} names {tag}")
