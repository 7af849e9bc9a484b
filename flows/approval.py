"""Waits for a person before a release, where a recipe asks for one."""

from prefect import pause_flow_run
from prefect.artifacts import create_link_artifact
from prefect.exceptions import FlowPauseTimeout
from prefect.runtime import flow_run

from flows import runs
from flows.log import log
from flows.notify import notify
from ratchet.errors import Refusal
from ratchet.recipe import Recipe
from ratchet.types import Candidate
from releases import api, approvals


def await_approval(recipe: Recipe, candidate: Candidate) -> None:
    """Pauses the run until somebody resumes it, in Prefect's UI or by `ratchet approve`.

    Raises Refusal if nobody does in time; the version stays blessed and can be released by hand.
    """
    if not recipe.approval_hours:
        return
    from models import registry

    page, run = registry.ui_url(candidate), str(flow_run.id)
    create_link_artifact(
        page, link_text=f"version {candidate.version} and its model card", key=f"approve-{recipe.name}"
    )
    sentence = f"Version {candidate.version} of {recipe.name} waits for approval: `ratchet approve {recipe.name}`"
    log.info("%s; its model card is at %s", sentence, page)
    approvals.request(recipe.name, candidate.version, run)
    notify(f"{recipe.name}: approval wanted", f"{sentence}. Model card: {page}. Run: {runs.url(run)}")
    try:
        pause_flow_run(timeout=int(recipe.approval_hours * 3600), poll_interval=2)
    except FlowPauseTimeout:
        what = f"nobody approved version {candidate.version} in {recipe.approval_hours:g} h"
        next = f"Release it by hand: `ratchet release {recipe.name} {candidate.version}`"
        raise Refusal(what, recipe.name, f"{next}. {api.what_serves(api.state_of(recipe.name))}") from None
    finally:
        approvals.end(recipe.name, run)
    by = approvals.by(recipe.name, run) or "somebody in Prefect's UI"
    log.info("version %s is approved by %s", candidate.version, by)
    try:
        registry.set_tag(recipe.name, candidate.version, "ratchet.approved_by", by)
    except Refusal as refusal:  # what was approved is released all the same
        log.warning("who approved it could not be noted in MLflow: %s", refusal)
