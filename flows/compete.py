"""Several families train side by side, each a task in a process of its own; the best goes to the judge."""

from __future__ import annotations

import importlib
import os
import threading
import time
from collections.abc import Sequence
from typing import Any

from prefect import get_run_logger
from prefect.task_runners import ProcessPoolTaskRunner

from flows import stages
from ratchet.answers import Answers
from ratchet.errors import Refusal
from ratchet.recipe import load
from ratchet.settings import settings
from ratchet.words import Candidate, Snapshot


def compete(
    name: str, snapshot: Snapshot, families: Sequence[str], epochs: int | None, batch_size: int | None,
    warm_start: bool = False,
) -> Candidate:  # fmt: skip
    """The candidate that did best on the validation side, which neither the judge nor the test figures look at.

    One that cannot be trained is left out and told. Raises Refusal where none is left.
    """
    from models import registry

    if load(name).network:
        raise Refusal("the recipe has a network of its own", name, "Leave the families out")
    log, found = get_run_logger(), []
    with _runner() as runner:
        asked = {"name": name, "snapshot": snapshot, "epochs": epochs, "batch_size": batch_size,
                 "warm_start": warm_start}  # fmt: skip
        under_way = {family: runner.submit(stages.train, {**asked, "family": family}) for family in families}
        for family, future in under_way.items():
            future.wait()
            if future.state.is_completed():
                found.append(future.result())
            else:
                log.warning("the family %s is left out: %s", family, future.state.message)
    if not found:
        raise Refusal("no family could be trained", f"{', '.join(families)} on {name}", "See the run's log")
    answers = load(name).answers
    winner = best(found, answers)
    for candidate in found:
        figure = candidate.metrics[f"val_{answers.metric}"]
        told = f"validation {answers.metric.replace('_', ' ')}"
        log.info("%s: version %s, %s %.4f", candidate.family, candidate.version, told, figure)
        known = registry.version(name, candidate.version)
        if candidate is not winner and known and "ratchet.verdict" not in known.tags:  # it may serve since long
            why = f"version {winner.version} ({winner.family}) did better on the validation side"
            registry.set_tag(name, candidate.version, "ratchet.verdict", "not judged")
            registry.set_tag(name, candidate.version, "ratchet.verdict_why", why)
    return winner


def _runner() -> Any:
    """A Dask or Ray cluster where its address is set, which sees the same home; else processes of this machine.

    Raises Refusal where what speaks to the cluster is not installed.
    """
    for address, module, name in (
        (settings().dask_address, "prefect_dask", "DaskTaskRunner"),
        (settings().ray_address, "prefect_ray", "RayTaskRunner"),
    ):
        if address:
            try:
                return getattr(importlib.import_module(module), name)(address=address)
            except ImportError as error:
                group = module.removeprefix("prefect_")
                next = f"`uv sync --inexact --group {group}` in the environment of the workers"
                raise Refusal(f"{module} is not installed ({error})", address, next) from error
    return ProcessPoolTaskRunner(max_workers=os.cpu_count(), initializer=_end_with_parent)


def best(candidates: Sequence[Candidate], answers: Answers) -> Candidate:
    """The first of those with the best figure on the validation side. Pure."""
    return max(candidates, key=lambda c: answers.better * c.metrics[f"val_{answers.metric}"])


def _end_with_parent() -> None:
    """A killed run must not go on training: its pool's processes would wait for ever."""
    parent = os.getppid()

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=look, daemon=True).start()
