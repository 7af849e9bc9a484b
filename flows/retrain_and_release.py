"""The loop: ingest, validate, train, optimize, evaluate, package, release, smoke test. Read this first."""

from typing import Any

from prefect import flow
from prefect.runtime import flow_run
from prefect.states import Completed

from flows import runs, stages
from flows.approval import await_approval
from flows.cancelling import withdraw_release
from flows.compete import compete
from flows.refusals import refusals_are_states
from flows.triggering import claimed
from ratchet.errors import Refusal
from ratchet.recipe import load
from ratchet.types import Candidate, version_of
from releases import api, causes, ledger


@flow(name="retrain-and-release", flow_run_name="{recipe}", persist_result=False, on_cancellation=[withdraw_release])
@refusals_are_states
def retrain_and_release(
    recipe: str,
    epochs: int | None = None,
    batch_size: int | None = None,
    strategy: str | None = None,
    families: list[str] | None = None,
    trials: int | None = None,
    warm_start: bool = False,
    cause: str = "",
) -> Any:
    """Runs the loop once for a recipe. If data, parameters, recipe, service and lock are unchanged, it does nothing.

    `cause` is what started it, if that was no person: one cause starts one run.

    A batch that fails its suite, a candidate that is rejected, a bento that does not answer: each ends the run with
    a sentence, and the champion still serves.
    """
    if runs.is_superseded(str(flow_run.id)):
        return Completed(message=runs.SUPERSEDED)
    records, run = api.open_ledger(), str(flow_run.id)
    if cause and (other := causes.claim(records, recipe, cause, run)) != run:
        return Completed(message=f"the flow run {other} has the cause {cause!r}")
    with ledger.hold_lease(records, f"run:{recipe}", run) as require_lease, claimed(records, recipe, cause, run):
        if families and trials:
            raise Refusal("a search is for the recipe's own family", recipe, "Give families or trials, not both")
        stages.ingest(recipe)
        snapshot = stages.validate(recipe)
        if families:
            candidate = compete(recipe, snapshot, families, epochs, batch_size, warm_start)
        else:
            candidate = stages.train(recipe, snapshot, epochs, batch_size, trials=trials, warm_start=warm_start)
        candidate = stages.optimize(recipe, candidate)
        if reason := _nothing_new(recipe, candidate):
            return Completed(message=f"nothing new: version {candidate.version} {reason}")
        champion = api.state_of(recipe).champion
        candidate, report = stages.evaluate(recipe, candidate)
        package = stages.package(recipe, candidate, report)
        await_approval(load(recipe), candidate)
        require_lease()
        api.require_champion(recipe, champion)
        stages.release(package, strategy)
        stages.smoke_test(package)
        return Completed(message=f"version {package.version} is champion: {report.why}")


def _nothing_new(recipe: str, candidate: Candidate) -> str:
    """Why this candidate needs no release; empty if it may need one."""
    state, key = api.state_of(recipe), stages.package_key(recipe, candidate)
    repackaged = state.champion is not None and state.champion.version == candidate.version
    if state.champion and state.champion.key == key:
        own = "already serves, and is of this data and these parameters"
        return own if repackaged else f"has the weights of version {state.champion.version}, which serves"
    revision = stages.revision(candidate, key)
    rolled_back = candidate.version in map(version_of, state.rolled_back)
    if revision in state.rolled_back or (rolled_back and not repackaged):
        return f"was rolled back and is released again only by hand: `ratchet release {recipe} {candidate.version}`"
    return ""
