"""What people paused or deleted in Prefect, so that runs would wait or could not start."""

from datetime import UTC, datetime, timedelta
from typing import Any

from flows import deploy
from flows.runs import POOLS, client, next_scheduled


def obstacles(recipe: str = "") -> list[str]:
    """Why runs would not start although Prefect answers, each as a sentence with the command that mends it.

    With a recipe, only what its loop needs: its deployment, and that one's pool and queue.
    """
    with client() as prefect:
        lines = [line for pool in (("cpu",) if recipe else POOLS) for line in _pool(prefect, pool, not recipe)]
    existing = deploy.existing()
    needed = [f"retrain-and-release/{recipe}"] if recipe else list(deploy.declared())
    # A worker creates a deleted pool anew, but the deployments that were in it stay without one.
    lost = [name for name in needed if name not in existing or not existing[name]["work_pool"]["name"]]
    if lost:
        lines.append(f"not in Prefect, or without a work pool: {', '.join(lost)}; run `ratchet up`")
    if not recipe and "collect/collect" in existing:
        lines += _unwatched(existing["collect/collect"])
    return lines


def _unwatched(collect: dict[str, Any]) -> list[str]:
    """Why nothing that serves is watched now."""
    active = [schedule for schedule in collect["schedules"] if schedule["active"]]
    if collect["paused"] or not active:
        return ["the schedule of `collect` is off in Prefect, so nothing that serves is watched until it is on again"]
    intervals = [timedelta(seconds=schedule["interval"]) for schedule in active if "interval" in schedule]
    due = next_scheduled("collect")
    if not intervals or due is None or due <= datetime.now(UTC) + 2 * max(intervals):
        return []
    what = f"`collect` is next scheduled for {due:%Y-%m-%d %H:%M} UTC, as after a clock was set back"
    return [f"{what}; until then `prefect deployment run collect/collect` runs it"]


def _pool(prefect: Any, pool: str, every_queue: bool) -> list[str]:
    from prefect.exceptions import ObjectNotFound

    try:
        paused = prefect.read_work_pool(pool).is_paused
        queues = [queue for queue in prefect.read_work_queues(work_pool_name=pool) if queue.is_paused]
    except ObjectNotFound:
        return [f"the work pool `{pool}` is gone from Prefect: `ratchet up` creates it again"]
    lines = [f"the work pool `{pool}` is paused in Prefect: `prefect work-pool resume {pool}`"] if paused else []
    for queue in queues:
        if every_queue or queue.name == "default":
            resume = f"`prefect work-queue resume {queue.name} -p {pool}`"
            lines.append(f"the queue `{queue.name}` is paused in Prefect: {resume}")
    return lines
