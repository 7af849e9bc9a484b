"""The chain from a batch to the process that answers, each link checked by its digest now."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from models import candidate as candidates
from models import export, registry
from ratchet.errors import Refusal
from ratchet.files import sha256
from ratchet.fleet.shelf import Shelf
from ratchet.lake import snapshot as snapshots
from ratchet.local_http import LOCAL
from ratchet.recipe import Recipe
from ratchet.settings import settings
from ratchet.words import Candidate, Package, from_json
from releases import act, requests


@dataclass(frozen=True)
class Link:
    """One step of the chain: `holds` is None where there is nothing to check yet."""

    name: str
    digest: str
    holds: bool | None
    detail: str


def chain(recipe: Recipe, version: registry.Version) -> Iterator[Link]:
    """Data, weights, export, verdict, bento and what answers. Raises Refusal when MLflow does not answer."""
    candidate = candidates.read(version)
    yield _checked("snapshot", candidate.snapshot.fingerprint, lambda: _snapshot(recipe, candidate))
    told = version.tags.get("ratchet.weights", "")
    yield Link(
        "weights", candidate.weights, told == candidate.weights, f"{candidate.family}, as the version's tag says"
    )
    with tempfile.TemporaryDirectory() as scratch:
        yield _checked("export", candidate.packaged, lambda: _export(recipe, version, Path(scratch)))
    if "ratchet.benchmark" in version.tags:
        yield _checked("benchmark", version.tags["ratchet.benchmark"], lambda: _benchmark(recipe, version))
    else:
        yield Link("benchmark", "", None, "it was not judged")
    if "ratchet.package" not in version.tags:
        yield Link("bento", "", None, "none was built: " + version.tags.get("ratchet.verdict_why", "it was not judged"))
        return
    package = from_json(Package, json.loads(version.tags["ratchet.package"]))
    yield _checked("bento", package.digest, lambda: _bento(candidate, package))
    yield _answering(recipe, package)


def _checked(name: str, digest: str, check: Callable[[], str]) -> Link:
    try:
        return Link(name, digest, True, check())
    except Refusal as refusal:
        return Link(name, digest, False, str(refusal))


def _snapshot(recipe: Recipe, candidate: Candidate) -> str:
    sides = snapshots.load(recipe, candidate.snapshot)
    parts = ", ".join(f"{len(part)} {side}" for side, part in sides.items())
    batches = ", ".join(candidate.snapshot.batches)
    return f"{candidate.snapshot.records} records of batches {batches}: {parts}"


def _export(recipe: Recipe, version: registry.Version, scratch: Path) -> str:
    made = candidates.exported(recipe, version, scratch)
    form = json.loads(version.tags.get(candidates.FORM, "{}")).get("name", "fp32")
    return f"the {form} form in MLflow{f', and {len(made.words)} words' if made.words else ''}"


def _benchmark(recipe: Recipe, version: registry.Version) -> str:
    held, fingerprint = snapshots.benchmarked(recipe)
    if fingerprint != version.tags.get("ratchet.benchmark"):
        raise Refusal("it was judged on another benchmark", fingerprint[:16], "Run the loop anew")
    return f"{len(held)} inputs; {version.tags.get('ratchet.verdict', 'not judged')}"


def _bento(candidate: Candidate, package: Package) -> str:
    shelf = Shelf(settings())
    model = shelf.unpack(package, act.fetch) / "src" / "model" / export.MODEL
    if changed := shelf.changed(package):
        what = f"{', '.join(changed[:5])} changed after it was unpacked"
        raise Refusal(what, shelf.folder(package), "Remove that folder; the host unpacks it anew")
    if sha256(model) != candidate.packaged:
        raise Refusal("the model in the bento is not the version's export", package.tag, "Build it anew")
    return f"{package.tag}, with that very export"


def _answering(recipe: Recipe, package: Package) -> Link:
    """What the gateway's answers say of themselves; a version that does not serve has none."""
    champion = requests.state_of(recipe.name).champion
    if champion is None or champion.tag != package.tag:
        return Link("answers", "", None, "it does not serve now")
    url = f"{settings().gateway_url}/v2/models/{recipe.name}"
    try:
        told = httpx.get(url, timeout=5, **LOCAL).headers.get("x-bento", "nothing")
    except httpx.HTTPError as error:
        return Link("answers", "", False, f"the gateway gave no answer ({type(error).__name__})")
    return Link("answers", package.digest, told == package.tag, f"{url} says {told}")
