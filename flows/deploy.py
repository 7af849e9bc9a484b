"""Creates Prefect's work pools, the deployments of prefect.yaml, and those derived for other recipes."""

import copy
import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from flows.runs import POOLS, client
from ratchet import recipe as recipes
from ratchet.errors import Refusal
from ratchet.files import load, replace, save
from ratchet.settings import ROOT, Settings


def expand(declared: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """`prefect.yaml` with a copy of each recipe's deployment for every recipe that has none. Pure."""
    deployments = declared["deployments"]
    existing = {(d["entrypoint"], d.get("parameters", {}).get("recipe")) for d in deployments}
    derived = []
    for template in deployments:
        if template.get("parameters", {}).get("recipe") is None:
            continue
        for name in names:
            if (template["entrypoint"], name) not in existing:
                existing.add((template["entrypoint"], name))
                deployment = copy.deepcopy(template)
                deployment["name"] = deployment["parameters"]["recipe"] = name
                for trigger in deployment.get("triggers", ()):
                    trigger["name"] = f"retrain {name}"
                    trigger["match"] = {"prefect.resource.id": f"ratchet.recipe.{name}"}
                derived.append(deployment)
    return {**declared, "deployments": [*deployments, *derived]}


def merge(declared: dict[str, Any], base: dict[str, Any], current: dict[str, Any]) -> dict[str, Any]:
    """A declared deployment, with what a person changed in Prefect since it was deployed. Pure.

    `current` is what Prefect has, and `base` what it had after the last deploying, both as `described`.
    """
    own = {name: current[name] for name in changed_fields(base, current)}
    schedules = _merge_schedules(declared.get("schedules", []), base["schedules"], current["schedules"])
    return {**declared, **own, "schedules": schedules}


def changed_fields(base: dict[str, Any], current: dict[str, Any]) -> list[str]:
    """The fields that a person changed in Prefect. Pure."""
    return [name for name in _FIELDS if current[name] != base[name]]


def assumed_base(declared: dict[str, Any], current: dict[str, Any]) -> dict[str, Any]:
    """The base of a deployment that an earlier Ratchet made: a schedule that is as declared is ours. Pure."""
    ours = {each.get("slug"): each for each in declared.get("schedules", [])}
    known = [each for each in current["schedules"] if ours.get(each["slug"], {"slug": ""}).items() <= each.items()]
    return {**current, "paused": False, "schedules": known}


def _merge_schedules(
    declared: list[dict[str, Any]], base: list[dict[str, Any]], current: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """By slug: each is as a person left it, or as the project declares it; one that a person deleted stays deleted."""
    ours, before = ({each.get("slug"): each for each in schedules} for schedules in (declared, base))
    merged = []
    for schedule in current:
        slug = schedule["slug"]
        if before.get(slug) != schedule:
            merged.append(schedule)
        elif slug in ours:
            merged.append(ours[slug])
    present = {schedule["slug"] for schedule in current}
    return merged + [schedule for slug, schedule in ours.items() if slug not in present and slug not in before]


_FIELDS = ("parameters", "tags", "description", "paused", "concurrency_limit", "work_pool", "schedules")
"""The fields of a deployment that Prefect lets people change."""


def described(deployment: Any) -> dict[str, Any]:
    """Those fields of one of Prefect's deployments, as prefect.yaml would declare them."""
    limit, options = deployment.global_concurrency_limit, deployment.concurrency_options
    concurrency = {"limit": limit.limit, **(options.model_dump(mode="json") if options else {})} if limit else None
    return {
        "parameters": deployment.parameters,
        "tags": sorted(deployment.tags),
        "description": deployment.description,
        "paused": deployment.paused,
        "concurrency_limit": concurrency,
        "schedules": [_schedule(schedule) for schedule in deployment.schedules],
        "work_pool": {
            "name": deployment.work_pool_name,
            "work_queue_name": deployment.work_queue_name,
            "job_variables": deployment.job_variables,
        },
    }


def _schedule(schedule: Any) -> dict[str, Any]:
    when = schedule.schedule.model_dump(mode="json", exclude_none=True)
    if "interval" in when:
        when["interval"] = schedule.schedule.interval.total_seconds()
    return {**when, "slug": schedule.slug, "active": schedule.active, "parameters": schedule.parameters}


def _flow(deployment: dict[str, Any]) -> str:
    name: str = deployment["entrypoint"].split(".")[-1].replace("_", "-")
    return name


def create_pools() -> None:
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists

    with client() as prefect:
        for name in POOLS:
            try:
                prefect.create_work_pool(WorkPoolCreate(name=name, type="process"))
            except ObjectAlreadyExists:
                continue


_EMPTY: dict[str, Any] = {"flows": "", "deployments": {}, "described": {}}
"""Of a home in which nothing was deployed yet."""


def declared() -> dict[str, dict[str, Any]]:
    """The deployments of prefect.yaml and those derived from them, by `flow/deployment`."""
    return {f"{_flow(each)}/{each['name']}": each for each in expand(_file(), recipes.names())["deployments"]}


def deploy(settings: Settings) -> list[str]:
    """Deploys what is missing or what the project changed, and returns a line for each, and for each without a recipe.

    Nothing else is touched, and what a person changed in Prefect stays as it is. Raises Refusal if Prefect refuses a
    deployment.
    """
    wanted, present, path = declared(), existing(), settings.home / "deployed.json"
    kept = _EMPTY | (load(path) or {})
    _disable_automations(kept.get("off", []))  # an earlier one was killed before it did that
    record = settle(kept, present)
    bases = {
        name: record["described"].get(name) or assumed_base(wanted[name], current)
        for name, current in present.items()
        if name in wanted
    }
    before = record["deployments"] if record["flows"] == _digest() else {}
    automations = _automations()
    lines, changed = _without_recipe(present, record["described"]), {}
    for name, deployment in wanted.items():
        if name not in present:
            lines.append(f"{name} is deployed")
            changed[name] = deployment
            continue
        current = present[name]
        pool_deleted = not current["work_pool"]["name"]
        if pool_deleted:  # which nobody wanted of the deployment
            current = {**current, "work_pool": bases[name]["work_pool"]}
        automation_deleted = bool(deployment.get("triggers")) and not automations.get(name)
        if before.get(name) != deployment or pool_deleted or automation_deleted:
            theirs = ", ".join(changed_fields(bases[name], current))
            lines.append(f"{name} is deployed again" + (f"; as you left them in Prefect: {theirs}" if theirs else ""))
            changed[name] = merge(deployment, bases[name], current)
    if changed:
        unsettled = {name: present.get(name) for name in changed}
        record = {**record, "described": bases, "unsettled": unsettled}
        owned = {name: [each for each in every if _is_owned(each)] for name, every in automations.items()}
        off = [name for name, own in owned.items() if own and not any(each.enabled for each in own)]
        save(path, {**record, "off": off})
        _deploy(settings, list(changed.values()))
        _disable_automations(off)
        save(path, {**settle(record, existing()), "flows": _digest(), "deployments": wanted})
    elif "unsettled" in kept:
        save(path, record)
    return lines


def _automations() -> dict[str, list[Any]]:
    """Prefect's automations that run each deployment, by `flow/deployment`, whatever a person called them."""
    with client() as prefect:
        deployments = {deployment.id: name for name, deployment in _by_name(prefect).items()}
        automations = _all(prefect.read_automations)
    by_deployment: dict[str, list[Any]] = {}
    for automation in automations:
        for id in {getattr(action, "deployment_id", None) for action in automation.actions} & deployments.keys():
            by_deployment.setdefault(deployments[id], []).append(automation)
    return by_deployment


def _is_owned(automation: Any) -> bool:
    """Whether Prefect made it of a deployment's triggers; a person's own is nobody's."""
    return str(automation.owner_resource or "").startswith("prefect.deployment.")


def _disable_automations(names: Sequence[str]) -> None:
    """Turns off those that a person had turned off: deploying makes a deployment's own anew, and on."""
    present = _automations() if names else {}
    with client() as prefect:
        for automation in (each for name in names for each in present.get(name, ()) if _is_owned(each)):
            prefect.pause_automation(automation.id)


def _without_recipe(present: dict[str, Any], ours: Mapping[str, Any]) -> list[str]:
    """A line for each deployment that was derived from a recipe whose file is gone."""
    known = recipes.names()
    derived = {name: present[name]["parameters"].get("recipe") for name in sorted(present.keys() & ours.keys())}
    todo = "delete the deployment in Prefect, or bring the file back"
    return [f"{name}: there is no recipe {own!r}; {todo}" for name, own in derived.items() if own and own not in known]


def settle(record: dict[str, Any], present: dict[str, Any]) -> dict[str, Any]:
    """The record with the bases of what was just deployed, also by an `up` that was killed before it said so. Pure."""
    described = dict(record["described"])
    for name, before in record.get("unsettled", {}).items():
        after = present.get(name)
        if after in (None, before):
            continue
        described[name] = next_base(described[name], before, after) if before else after
    return {"flows": record["flows"], "deployments": record["deployments"], "described": described}


def next_base(base: dict[str, Any], current: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """The base of the next merge: what was deployed, but for what a person had changed, which stays theirs. Pure.

    `current` is what Prefect had before the deploying, and `after` what it has now.
    """
    own = {name: base[name] for name in changed_fields(base, current)}
    known, before = ({each["slug"]: each for each in side["schedules"]} for side in (base, current))
    theirs = {slug for slug, each in before.items() if known.get(slug) != each}
    deployed = [each for each in after["schedules"] if each["slug"] not in theirs]
    kept = [each for slug, each in known.items() if slug in theirs or slug not in before]
    return {**after, **own, "schedules": deployed + kept}


def existing() -> dict[str, Any]:
    """Every deployment in Prefect by `flow/deployment`, as `described`."""
    with client() as prefect:
        return {name: described(deployment) for name, deployment in _by_name(prefect).items()}


def _by_name(prefect: Any) -> dict[str, Any]:
    """Prefect's deployments by `flow/deployment`."""
    flows = {flow.id: flow.name for flow in _all(prefect.read_flows)}
    return {f"{flows[each.flow_id]}/{each.name}": each for each in _all(prefect.read_deployments)}


def _all(read: Any) -> list[Any]:
    """Every page of what Prefect lists."""
    items: list[Any] = []
    while page := read(limit=_PAGE, offset=len(items)):
        items += page
    return items


_PAGE = 200


def _file() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
    return content


def _deploy(settings: Settings, deployments: list[dict[str, Any]]) -> None:
    path = settings.home / "prefect.yaml"
    replace(path, yaml.safe_dump({**_file(), "deployments": deployments}))
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(path)]
    process = subprocess.run(command, capture_output=True, text=True, env=os.environ, cwd=settings.home)
    if process.returncode:
        output = (process.stdout + process.stderr).strip()[-400:]
        raise Refusal(f"Prefect refused ({output})", ROOT / "prefect.yaml", "Correct the file")


def _digest() -> str:
    """Of the flows, whose parameters are part of a deployment."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()
