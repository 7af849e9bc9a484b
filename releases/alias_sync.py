"""Syncs MLflow's aliases with the ledger, and turns an alias that a person moved into a request.

MLflow may be slow or down, so it is called on a thread of its own, again and again until it answers.
"""

import json
import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from models import registry
from ratchet import model_card
from ratchet import recipe as recipes
from ratchet.errors import Refusal
from ratchet.types import Package, from_json, to_json
from releases import api, history, machine
from releases.api import StateCache
from releases.ledger import Ledger
from releases.state import Aliases, State, Sync, Synced
from releases.ticker import LogOnce

log = logging.getLogger("controller")
_RETRY_SECONDS, _LOOK_SECONDS = 5.0, 2.0
"""Time until MLflow is called again after it did not answer, and time between two looks at an alias."""
WHO = "@champion, moved by hand"
NAMES = ("champion", "challenger", "previous")


@dataclass
class AliasSync:
    ledger: Ledger
    log_once: LogOnce
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    _running: dict[str, Future[None]] = field(default_factory=dict)
    _not_before: dict[str, float] = field(default_factory=dict)

    def tick(self, recipe: str, state: State, now: float) -> None:
        """Starts what should be written or read; returns at once."""
        sync = next((action for action in machine.actions(state) if isinstance(action, Sync)), None)
        if sync is None and state.champion is None:
            return
        running = self._running.get(recipe)
        # Bounded, since the clock may have been set back.
        waits = 0 < self._not_before.get(recipe, 0.0) - now <= max(_RETRY_SECONDS, _LOOK_SECONDS)
        if waits or (running and not running.done()):
            return
        self._not_before[recipe] = now + (_LOOK_SECONDS if sync is None else 0.0)
        self._running[recipe] = self._pool.submit(self._run, recipe, state, sync)

    def _run(self, recipe: str, state: State, sync: Sync | None) -> None:
        try:
            if sync:
                self._write(recipe, sync, state)
            else:
                self._follow(recipe, state)
        except Refusal as refusal:
            self.log_once(recipe, str(refusal))
            self._not_before[recipe] = time.time() + _RETRY_SECONDS
        except Exception:
            log.exception("%s: the aliases could not be synced", recipe)
            self._not_before[recipe] = time.time() + _RETRY_SECONDS

    def _write(self, recipe: str, sync: Sync, state: State) -> None:
        current = registry.alias(recipe, "champion")
        moved = moved_since(current, sync, state.aliases)
        written_now: list[str | None] = []
        for name, version, written in zip(NAMES, sync.aliases, state.aliases, strict=True):
            # During a first release the ledger names no champion yet: an alias that exists already stays.
            outdated = not moved and bool(version or written) if name == "champion" else version != written
            there = self._point(recipe, name, version) if outdated else version
            written_now.append(current if name == "champion" and not outdated else there)
        if state.champion:  # another package of the same version may have become champion
            package = json.dumps(to_json(state.champion))
            registry.set_tag(recipe, state.champion.version, "ratchet.package", package)
        for outcome in sync.outcomes:
            registry.set_tag(recipe, outcome.version, "ratchet.release", outcome.outcome)
            registry.set_tag(recipe, outcome.version, "ratchet.release_why", outcome.why)
            try:
                self._save_history(recipe, outcome.version)
            except Refusal as refusal:  # it must not delay the aliases
                self.log_once(recipe, f"the history of version {outcome.version} was not saved: {refusal}")
        champion, challenger, previous = written_now
        in_mlflow = champion, challenger, previous
        synced = Synced(sync.aliases, len(sync.outcomes), time.time(), in_mlflow if in_mlflow != sync.aliases else None)
        StateCache(self.ledger).append(recipe, synced, "controller")
        self.log_once(recipe, f"MLflow has {describe(in_mlflow)}")

    def _point(self, recipe: str, alias: str, version: str | None) -> str | None:
        """Writes an alias and returns the version that it names then.

        If a person deleted the version, the alias names none: another version would be wrong.
        """
        if registry.set_alias(recipe, alias, version):
            return version
        registry.set_alias(recipe, alias, None)
        self.log_once(recipe, f"MLflow no longer has version {version}, so @{alias} names none")
        return None

    def _save_history(self, recipe: str, version: str) -> None:
        """Saves the release history with the version and in its model card: each step, its checks, who decided."""
        registered = registry.version(recipe, version)
        if registered is None:
            return
        release = history.release(self.ledger.read(recipe), version)
        registry.upload(registry.path_of(registered, "release.json"), json.dumps(release, indent=1))
        page = model_card.to_html(card_of(registered), release)
        registry.upload(registry.path_of(registered, model_card.PAGE), page)

    def _follow(self, recipe: str, state: State) -> None:
        alias = registry.alias(recipe, "champion")
        assert state.champion
        if alias in (None, state.champion.version) or state.aliases[0] != state.champion.version:
            if recipe in self.ledger.statuses("alias"):
                self.ledger.unpublish(f"alias:{recipe}")
            return
        why_not = ""
        try:
            self._request(recipe, state, str(alias))
        except Refusal as refusal:
            why_not = str(refusal)
            self.log_once(recipe, why_not)
        except ValueError as error:
            why_not = f"the version's package cannot be read ({type(error).__name__})"
        self.ledger.publish(f"alias:{recipe}", {"version": alias, "why_not": why_not}, time.time())

    def _request(self, recipe: str, state: State, version: str) -> None:
        """Requests the version that a person chose. Raises Refusal if it must not serve."""
        former = next((package for package in reversed(state.former) if package.version == version), None)
        why = f"@champion was moved to version {version} in MLflow"
        package, plan = former or package_of(recipe, version), recipes.load(recipe).release_plan
        request = api.request(package, "rollback" if former else "release", why, True, plan, self.ledger)
        StateCache(self.ledger).append(recipe, request, WHO)
        self.log_once(recipe, why)


def describe(aliases: Aliases) -> str:
    return ", ".join(f"@{name} {version or 'none'}" for name, version in zip(NAMES, aliases, strict=True))


def moved_since(current: str | None, sync: Sync, written: Aliases) -> bool:
    """Whether a person moved `@champion` to `current`, which is then followed and not overwritten. Pure.

    It is a person's choice if it names neither the version that was written last nor one that was decided since.
    """
    if current is None or written[0] is None:
        return False
    decided = {outcome.version for outcome in sync.outcomes}
    return current not in {written[0], sync.aliases[0], *decided}


def card_of(version: registry.Version) -> dict[str, Any]:
    """The model card of a version up to its evaluation. Raises Refusal if it has none."""
    path, which = registry.path_of(version, model_card.DATA), f"version {version.version} of {version.recipe}"
    if not registry.has(path):
        raise Refusal("the version has no model card", which, "Its evaluation writes one; run the loop again")
    card: dict[str, Any] = json.loads(registry.read(path))
    return card


def package_of(recipe: str, version: str) -> Package:
    """The package of a blessed version. Raises Refusal if it is not blessed, or has no package."""
    registered, which = registry.version(recipe, version), f"version {version} of {recipe}"
    if registered is None:
        raise Refusal("there is no such version", which, "It was never registered, or was deleted in MLflow")
    if registered.tags.get("ratchet.evaluation") != "blessed":
        raise Refusal("the version is not blessed", which, "Only a blessed version is served")
    if "ratchet.package" not in registered.tags:
        raise Refusal("the version has no bento", which, "Run the loop to build it")
    return from_json(Package, json.loads(registered.tags["ratchet.package"]))
