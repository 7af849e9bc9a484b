"""Drives the real stack of a replay as its users do: by the command, by HTTP, by Prefect."""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from expectations.triggers import Past
from ratchet import clock
from ratchet.endpoints import FEEDBACK, MAX_BATCH, PREDICT
from ratchet.errors import Refusal
from ratchet.fleet.gateway import Gateway
from ratchet.fleet.stack import Stack
from ratchet.lake import learning, outcomes, snapshot
from ratchet.local_http import LOCAL
from ratchet.progress import Report
from ratchet.recipe import Recipe
from ratchet.settings import settings
from ratchet.types import Package, Watched, from_json
from releases import api, causes, machine

_WHO = "replay"
_SCHEDULED = ("collect/collect", "reconcile/reconcile")
_RETRAINING_SECONDS, _EVENT_SECONDS = 4 * 3600.0, 60.0
"""Time limit for a retraining with its release, and the time after which Prefect may have lost an event."""


class Unanswered(Refusal):
    """A request that failed, as one of a caller may: nobody's input is to blame."""


@dataclass(frozen=True)
class Done:
    """What became of what a person did."""

    done: bool
    what: str


@dataclass(frozen=True)
class Driver:
    """A stack that is up, and serves a first version of the recipe."""

    recipe: Recipe
    client: httpx.Client

    def turn(self, to: float) -> None:
        """Turns the clock on; `to` is in seconds since 1970. It never goes back."""
        clock.turn(Path(settings().clock), max(to, clock.now()))

    def send(self, inputs: np.ndarray, id: str) -> np.ndarray:
        """Sends a request of some inputs [N, ...]; the outputs [N, width].

        Raises Unanswered if the service failed, and Refusal if it refuses the request.
        """
        body = {self.recipe.contract.json_key: self.recipe.contract.values(inputs)}
        return self.recipe.answers.outputs(self._post(PREDICT, body, {"x-request-id": id}).json())

    def label(self, labels: Sequence[tuple[str, int, Any]]) -> None:
        """Sends labels of requests, by id and row."""
        rows = [{"request_id": id, "row": row, "label": outcomes.spelling(self.recipe.answers, label)}
                for id, row, label in labels]  # fmt: skip
        for start in range(0, len(rows), MAX_BATCH):
            self._post(FEEDBACK, {"feedback": rows[start : start + MAX_BATCH]}, {})

    def _post(self, path: str, body: Any, headers: Mapping[str, str]) -> httpx.Response:
        url, next = f"/{self.recipe.name}{path}", f"See {settings().home / 'logs'}"
        try:
            response = self.client.post(url, json=body, headers=headers)
        except httpx.HTTPError as error:
            raise Unanswered(f"the gateway does not answer ({error or type(error).__name__})", url, next) from error
        if not response.is_success:
            kind = Unanswered if response.status_code >= 500 else Refusal
            raise kind(f"the gateway answered {response.status_code} ({response.text[:300]})", url, next)
        return response

    def collect(self) -> None:
        """Runs the flow that collects, watches and starts retrainings, as its deployment does."""
        from flows.collect import collect

        state = collect(return_state=True)
        if not state.is_completed():
            raise Refusal(
                f"the flow `collect` failed ({state.message})", self.recipe.name, f"See {settings().home / 'logs'}"
            )

    def settle(self) -> None:
        """Waits until every retraining that was started is over, with its release, and the gateway follows it."""
        until, again = time.monotonic() + _RETRAINING_SECONDS, time.monotonic() + _EVENT_SECONDS
        while True:
            unfinished = [past for past in self.causes() if past.result is None]
            if not unfinished and self._is_idle():
                return
            if time.monotonic() > until:
                what = f"a retraining is not over after {_RETRAINING_SECONDS:g} s"
                raise Refusal(what, self.recipe.name, "See its run in Prefect")
            if unfinished and unfinished[0].run is None and time.monotonic() > again:
                self.collect()
                again = time.monotonic() + _EVENT_SECONDS
            time.sleep(0.5)

    def _is_idle(self) -> bool:
        """Whether no release is under way, and the gateway splits the traffic as it should."""
        state = api.state_of(self.recipe.name)
        split = Gateway(settings()).get_routes().splits.get(self.recipe.name)
        return state.phase == "idle" and split == machine.split(state)

    def loop(self) -> Done:
        """Runs the loop by hand; what became of it."""
        before = self.champion()
        result = _outcome(lambda: run_ratchet("loop", self.recipe.name), "nothing new")
        self.settle()
        return Done(True, "released") if self.champion() != before else replace(result, done=False)

    def release(self, package: Package) -> Done:
        """Releases a package by hand; what became of it."""

        def act() -> None:
            api.release(package, self.recipe.release_plan, _WHO, "a replay releases it", by_hand=True)
            api.watch(package, lambda line: None)

        result = _outcome(act, "released")
        self.settle()
        return result

    def withdraw_newest(self, why: str) -> Done:
        """Withdraws the batch of labelled inputs that was admitted last; what became of it."""
        admitted = snapshot.spans(self.recipe, learning.batches(self.recipe.name))
        if not admitted:
            return Done(False, "there was none")
        newest = max(admitted, key=lambda batch: admitted[batch])
        return _outcome(lambda: run_ratchet("withdraw", self.recipe.name, newest, "--why", why), "done")

    def why(self, past: Past) -> str:
        """What the last run of a cause ended with, in a sentence."""
        from flows import runs

        return runs.message(past.run) if past.run else ""

    def causes(self) -> list[Past]:
        return causes.read(api.open_ledger(), self.recipe.name)

    def watched(self, since: float) -> Watched | None:
        """The state of what serves, if it was watched since then, in real seconds since 1970."""
        status = api.open_ledger().statuses("watch").get(self.recipe.name)
        return from_json(Watched, status.body) if status and status.at >= since else None

    def scale(self) -> float:
        """The loss, in the task's own unit, that what is watched of the champion counts as 1."""
        from models import promise

        champion = api.state_of(self.recipe.name).champion
        return promise.of(self.recipe, champion).scale if champion else 1.0

    def champion(self) -> str:
        champion = api.state_of(self.recipe.name).champion
        return champion.version if champion else ""


@contextmanager
def serving(recipe: Recipe, begins: float, report: Report) -> Iterator[Driver]:
    """Starts the stack and releases a first version; stops everything afterwards. `begins` is what the clock plays."""
    from flows import log, runs

    own = Stack(settings())
    os.environ |= {name: value for name, value in own.environment().items() if not name.startswith("RATCHET_")}
    os.environ["PREFECT_LOGGING_LEVEL"] = "ERROR"
    logging.getLogger(log.NAME).setLevel(logging.WARNING)  # what `collect` logs is in its runs
    clock.turn(Path(settings().clock), begins)
    try:
        report("starting a stack")
        run_ratchet("up")
        for deployment in _SCHEDULED:
            runs.pause(deployment)
        report("training and releasing a first version")
        run_ratchet("loop", recipe.name)
        with httpx.Client(base_url=settings().gateway_url, timeout=60, **LOCAL) as client:
            driver = Driver(recipe, client)
            driver.settle()
            yield driver
    finally:
        logging.getLogger(log.NAME).setLevel(logging.INFO)
        report("stopping the stack")
        _stop(report)


def _stop(report: Report) -> None:
    """Ends the stack. An error of that must not hide the one for which it is ended."""
    failing = sys.exc_info()[1] is not None
    try:
        run_ratchet("down")
    except Refusal as refusal:
        if not failing:
            raise
        report(str(refusal))


def _outcome(act: Callable[[], object], good: str) -> Done:
    try:
        act()
    except Refusal as refusal:
        return Done(False, str(refusal))
    return Done(True, good)


def run_ratchet(*arguments: str) -> None:
    """Runs a command of this home. Raises Refusal with what the command printed last if it fails."""
    command = [str(Path(sys.executable).with_name("ratchet")), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=settings().home)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise Refusal(f"`ratchet {' '.join(arguments)}` failed ({last})", settings().home, "See its logs folder")
