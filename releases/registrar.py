"""Writes to MLflow what the ledger says, and follows a hand that moved `@champion` there.

MLflow may be slow or down, so it is asked on a thread of its own, and again until it answers.
"""

from __future__ import annotations

import json
import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from models import registry
from ratchet import dossier
from ratchet import recipe as recipes
from ratchet.errors import Refusal
from ratchet.words import Package, from_json, to_json
from releases import machine, requests
from releases import record as record_of
from releases.ledger import Ledger
from releases.requests import Followed
from releases.state import Record, Recorded, State
from releases.ticking import Once

log = logging.getLogger("controller")
_RETRY, _LOOK = 5.0, 2.0
"""Seconds before MLflow is asked again after it did not answer, and between two looks at an alias."""
WHO = "@champion, moved by a hand"


@dataclass
class Registrar:
    book: Ledger
    told: Once
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    _under_way: dict[str, Future[None]] = field(default_factory=dict)
    _not_before: dict[str, float] = field(default_factory=dict)

    def tick(self, recipe: str, state: State, now: float) -> None:
        """Begins what is to be written or looked at; returns at once."""
        busy = self._under_way.get(recipe)
        if state.champion is None and not state.outcomes:
            return
        if now < self._not_before.get(recipe, 0.0) or (busy and not busy.done()):
            return
        record = next((a for a in machine.wants(state) if isinstance(a, Record)), None)
        self._not_before[recipe] = now + (_LOOK if record is None else 0.0)
        self._under_way[recipe] = self._pool.submit(self._ask, recipe, state, record)

    def _ask(self, recipe: str, state: State, record: Record | None) -> None:
        try:
            if record:
                self._write(recipe, record, state)
            else:
                self._follow(recipe, state)
        except Refusal as refusal:
            self.told(recipe, str(refusal))
            self._not_before[recipe] = time.time() + _RETRY
        except Exception:
            log.exception("%s: MLflow could not be told or asked", recipe)
            self._not_before[recipe] = time.time() + _RETRY

    def _write(self, recipe: str, record: Record, state: State) -> None:
        if not moved_since(registry.alias(recipe, "champion"), record, state.aliases[0]):
            self._point(recipe, "champion", record.champion)
        if record.previous != state.aliases[1]:
            self._point(recipe, "previous", record.previous)
        if state.champion:  # a mended package of the same version may have taken its place
            told = json.dumps(to_json(state.champion))
            registry.set_tag(recipe, state.champion.version, "ratchet.package", told)
        for outcome in record.outcomes:
            registry.set_tag(recipe, outcome.version, "ratchet.release", outcome.outcome)
            registry.set_tag(recipe, outcome.version, "ratchet.release_why", outcome.why)
            try:
                self._keep_record(recipe, outcome.version)
            except Refusal as refusal:  # it must not hold up the aliases
                self.told(recipe, f"the record of version {outcome.version} was not kept: {refusal}")
        done = Recorded(record.champion, record.previous, len(record.outcomes), time.time())
        Followed(self.book).append(recipe, done, "controller")
        self.told(
            recipe, f"MLflow was told: champion {record.champion or 'none'}, previous {record.previous or 'none'}"
        )

    def _point(self, recipe: str, alias: str, version: str | None) -> None:
        """Writes an alias. Where a person deleted the version it names nothing: another's would be a lie."""
        if not registry.set_alias(recipe, alias, version):
            registry.set_alias(recipe, alias, None)
            self.told(recipe, f"MLflow has no version {version} any more, so @{alias} names none")

    def _keep_record(self, recipe: str, version: str) -> None:
        """The release's whole record, beside the version and in its dossier: each step, its figures, who decided."""
        if found := registry.version(recipe, version):
            told = record_of.release(self.book.read(recipe), version)
            registry.upload(registry.beside(found, "release.json"), json.dumps(told, indent=1))
            page = dossier.page(dossier_of(found), told)
            registry.upload(registry.beside(found, dossier.PAGE), page)

    def _follow(self, recipe: str, state: State) -> None:
        alias = registry.alias(recipe, "champion")
        assert state.champion
        if alias in (None, state.champion.version) or state.aliases[0] != state.champion.version:
            if recipe in self.book.heard("alias"):
                self.book.forget(f"alias:{recipe}")
            return
        why_not = ""
        try:
            self._request(recipe, state, str(alias))
        except Refusal as refusal:
            why_not = str(refusal)
            self.told(recipe, why_not)
        except ValueError as error:
            why_not = f"the version's package cannot be read ({type(error).__name__})"
        self.book.say(f"alias:{recipe}", {"version": alias, "why_not": why_not}, time.time())

    def _request(self, recipe: str, state: State, version: str) -> None:
        """Enters what the hand asked for. Raises Refusal where it may not serve."""
        known = next((p for p in reversed(state.former) if p.version == version), None)
        why = f"@champion was moved to version {version} in MLflow"
        package, plan = known or packaged(recipe, version), recipes.load(recipe).releasing
        wanted = requests.requested(package, "rollback" if known else "release", why, True, plan, self.book)
        Followed(self.book).append(recipe, wanted, WHO)
        self.told(recipe, why)


def moved_since(there: str | None, record: Record, written: str | None) -> bool:
    """Whether a hand moved `@champion` to `there` since the last that it asked for was decided. Pure.

    It is then looked at, and not overwritten: it names neither what was written last nor what has been decided.
    """
    decided = {outcome.version for outcome in record.outcomes}
    return None not in (there, written) and there not in {written, record.champion, *decided}


def dossier_of(version: registry.Version) -> dict[str, Any]:
    """The dossier of a version up to its verdict. Raises Refusal where it has none."""
    path, which = registry.beside(version, dossier.DATA), f"version {version.version} of {version.recipe}"
    if not registry.has(path):
        raise Refusal("the version has no dossier", which, "A version gets one with its verdict; run the loop anew")
    found: dict[str, Any] = json.loads(registry.read(path))
    return found


def packaged(recipe: str, version: str) -> Package:
    """The package of a version that was blessed. Raises Refusal when it is not, or there is none."""
    found = registry.version(recipe, version)
    if found is None:
        raise Refusal("there is no such version", f"version {version} of {recipe}", "See the MLflow UI")
    if found.tags.get("ratchet.verdict") != "blessed":
        raise Refusal("the version is not blessed", f"version {version} of {recipe}", "Only blessed ones are served")
    if "ratchet.package" not in found.tags:
        raise Refusal("the version has no bento", f"version {version} of {recipe}", "Run the loop to build it")
    return from_json(Package, json.loads(found.tags["ratchet.package"]))
