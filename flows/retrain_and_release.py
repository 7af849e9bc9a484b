"""The loop: ingest, validate, train, shrink, judge, package, release, observe. A newcomer reads this first."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.runtime import flow_run
from prefect.states import Completed

from flows import stages
from flows.compete import compete
from flows.refusals import refusals_are_states
from ratchet.errors import Refusal
from ratchet.words import version_of
from releases import ledger, requests


@flow(name="retrain-and-release", flow_run_name="{recipe}", persist_result=False)
@refusals_are_states
def retrain_and_release(
    recipe: str,
    epochs: int | None = None,
    batch_size: int | None = None,
    strategy: str | None = None,
    families: list[str] | None = None,
    trials: int | None = None,
    warm_start: bool = False,
) -> Any:
    """Turns the loop once for a recipe. On unchanged data, parameters, recipe, service and lock it does nothing.

    A batch that fails its suite, a verdict against, a bento that does not answer: each ends the run
    with a sentence, and the champion goes on serving.
    """
    with ledger.held(requests.ledger(), f"run:{recipe}", str(flow_run.id)) as still_mine:
        if families and trials:
            raise Refusal("a recipe's space is of its own family", recipe, "Give families or trials, not both")
        stages.ingest(recipe)
        snapshot = stages.validate(recipe)
        if families:
            candidate = compete(recipe, snapshot, families, epochs, batch_size, warm_start)
        else:
            candidate = stages.train(recipe, snapshot, epochs, batch_size, trials=trials, warm_start=warm_start)
        candidate = stages.shrink(recipe, candidate)
        state = requests.state_of(recipe)
        arm = stages.arm(recipe, candidate)
        if state.champion and state.champion.arm == arm:
            return Completed(
                message=f"nothing new: version {candidate.version} serves and is of this data and these parameters"
            )
        mended = state.champion is not None and state.champion.version == candidate.version
        if arm in state.rolled_back or (not mended and candidate.version in map(version_of, state.rolled_back)):
            return Completed(
                message=f"nothing new: version {candidate.version} was rolled back and is released again only by hand"
            )
        candidate, verdict = stages.judge(recipe, candidate)
        package = stages.package(recipe, candidate, verdict)
        still_mine()
        stages.release(package, strategy)
        stages.observe(package)
        return Completed(message=f"version {package.version} is champion: {verdict.why}")
