"""Creates Prefect's work pools, the deployments of prefect.yaml, and those derived for other recipes."""

import copy
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from flows.runs import client
from ratchet import recipe as recipes
from ratchet.errors import Refusal
from ratchet.files import load, replace, save
from ratchet.settings import ROOT, Settings

POOLS = ("cpu", "gpu")


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
                derived.append(deployment)
    return {**declared, "deployments": [*deployments, *derived]}


def keep_schedules(declared: dict[str, Any], active: dict[str, bool]) -> dict[str, Any]:
    """The same, with each schedule active or paused as a person left it. Pure. Keys are `flow/deployment`."""
    result = copy.deepcopy(declared)
    for deployment in result["deployments"]:
        name = f"{_flow(deployment)}/{deployment['name']}"
        for schedule in deployment.get("schedules", []):
            schedule["active"] = active.get(name, schedule.get("active", False))
    return result


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


def deploy(settings: Settings) -> bool:
    """Deploys what changed; False if everything was as declared. Raises Refusal if Prefect refuses a deployment."""
    declared = expand(yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8")), recipes.names())
    with client() as prefect:
        existing = prefect.read_deployments()
        flows = {flow.id: flow.name for flow in prefect.read_flows()}
    active = {f"{flows[d.flow_id]}/{d.name}": all(s.active for s in d.schedules) for d in existing if d.schedules}
    digest, record = _digest(declared), settings.home / "deployed.json"
    wanted = {(_flow(deployment), deployment["name"]) for deployment in declared["deployments"]}
    if (load(record) or {}).get("digest") == digest and wanted <= {(flows[d.flow_id], d.name) for d in existing}:
        return False
    path = settings.home / "prefect.yaml"
    replace(path, yaml.safe_dump(keep_schedules(declared, active)))
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(path)]
    process = subprocess.run(command, capture_output=True, text=True, env=os.environ, cwd=settings.home)
    if process.returncode:
        output = (process.stdout + process.stderr).strip()[-400:]
        raise Refusal(f"Prefect refused ({output})", ROOT / "prefect.yaml", "Correct the file")
    save(record, {"digest": digest})
    return True


def _digest(declared: dict[str, Any]) -> str:
    """Of the declarations, and of the flows, whose parameters are part of a deployment."""
    digest = hashlib.sha256(json.dumps(declared, sort_keys=True).encode())
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()
