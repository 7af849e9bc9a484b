"""Trains several families in parallel, each in a process of its own; the best one is evaluated."""

import importlib
import os
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from prefect.task_runners import ProcessPoolTaskRunner

from flows import stages
from flows.log import log
from ratchet.answers import Answers
from ratchet.errors import Refusal
from ratchet.recipe import load
from ratchet.settings import settings
from ratchet.types import Candidate, Snapshot


def compete(
    name: str, snapshot: Snapshot, families: Sequence[str], epochs: int | None, batch_size: int | None, warm_start: bool
) -> Candidate:
    """The candidate with the best metric on the validation side, which neither evaluation nor test metrics use.

    A family that cannot be trained is left out and reported. Raises Refusal if none can.
    """
    recipe = load(name)
    if recipe.network or recipe.train:
        own = "a trainer" if recipe.train else "a network"
        raise Refusal(f"the recipe has {own} of its own", name, "Run the loop without families")
    parameters = {"epochs": epochs, "batch_size": batch_size, "warm_start": warm_start}
    candidates = _train_all(families, {"name": name, "snapshot": snapshot, **parameters})
    if not candidates:
        raise Refusal("no family could be trained", f"{', '.join(families)} on {name}", "See the run's log")
    answers = recipe.answers
    winner = best(candidates, answers)
    for candidate in candidates:
        value = candidate.metrics[f"val_{answers.metric}"]
        metric = answers.metric.replace("_", " ")
        log.info("%s: version %s, validation %s %.4f", candidate.family, candidate.version, metric, value)
        if candidate is not winner:
            _skip(candidate, winner)
    return winner


def _train_all(families: Sequence[str], parameters: Mapping[str, Any]) -> list[Candidate]:
    candidates = []
    with _runner() as runner:
        futures = {family: runner.submit(stages.train, {**parameters, "family": family}) for family in families}
        for family, future in futures.items():
            future.wait()
            if future.state.is_completed():
                candidates.append(future.result())
            else:
                log.warning("the family %s is left out: %s", family, future.state.message)
    return candidates


def _skip(candidate: Candidate, winner: Candidate) -> None:
    """Tags a candidate as not evaluated, unless it was evaluated in an earlier run."""
    from models import registry

    version = registry.version(candidate.recipe, candidate.version)
    if version and "ratchet.evaluation" not in version.tags:
        why = f"version {winner.version} ({winner.family}) is better on the validation side"
        registry.set_tag(candidate.recipe, candidate.version, "ratchet.evaluation", "skipped")
        registry.set_tag(candidate.recipe, candidate.version, "ratchet.evaluation_why", why)


def _runner() -> Any:
    """A Dask or Ray cluster if its address is set, which shares this home; else processes of this machine.

    Raises Refusal if the client of the cluster is not installed.
    """
    clusters = (
        (settings().dask_address, "prefect_dask", "DaskTaskRunner"),
        (settings().ray_address, "prefect_ray", "RayTaskRunner"),
    )
    for address, module, name in clusters:
        if address:
            try:
                return getattr(importlib.import_module(module), name)(address=address)
            except ImportError as error:
                group = module.removeprefix("prefect_")
                next = f"Run `uv sync --inexact --group {group}` in the environment of the workers"
                raise Refusal(f"{module} is not installed ({error})", address, next) from error
    return ProcessPoolTaskRunner(max_workers=os.cpu_count(), initializer=_end_with_parent)


def best(candidates: Sequence[Candidate], answers: Answers) -> Candidate:
    """The first of those with the best metric on the validation side. Pure."""
    return max(candidates, key=lambda candidate: answers.sign * candidate.metrics[f"val_{answers.metric}"])


def _end_with_parent() -> None:
    """A killed run must not continue to train: the processes of its pool would wait forever."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
