"""Makes Prefect hold the work pools, the deployments of prefect.yaml, and those derived for other recipes."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from flows.runs import api
from ratchet import recipe as recipes
from ratchet.errors import Refusal
from ratchet.files import keep, kept, replace
from ratchet.settings import ROOT, Settings

POOLS = ("cpu", "gpu")


def expand(declared: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """`prefect.yaml` with a copy of each recipe's deployment for every recipe that has none. Pure."""
    found = declared["deployments"]
    have = {(d["entrypoint"], d.get("parameters", {}).get("recipe")) for d in found}
    derived = []
    for template in found:
        if template.get("parameters", {}).get("recipe") is None:
            continue
        for name in names:
            if (template["entrypoint"], name) not in have:
                have.add((template["entrypoint"], name))
                made = copy.deepcopy(template)
                made["name"] = made["parameters"]["recipe"] = name
                derived.append(made)
    return {**declared, "deployments": [*found, *derived]}


def keep_schedules(declared: dict[str, Any], awake: dict[str, bool]) -> dict[str, Any]:
    """The same, with each schedule paused or awake as a person left it. Pure. Keys are `flow/deployment`."""
    kept = copy.deepcopy(declared)
    for deployment in kept["deployments"]:
        name = f"{deployment['entrypoint'].split('.')[-1].replace('_', '-')}/{deployment['name']}"
        for schedule in deployment.get("schedules", []):
            schedule["active"] = awake.get(name, schedule.get("active", False))
    return kept


def make_pools() -> None:
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists

    with api() as client:
        for name in POOLS:
            try:
                client.create_work_pool(WorkPoolCreate(name=name, type="process"))
            except ObjectAlreadyExists:
                continue


def deploy(settings: Settings) -> bool:
    """Deploys what changed; False where everything stood as declared.

    Raises Refusal when Prefect refuses a deployment.
    """

    declared = expand(yaml.safe_load((ROOT / "prefect.yaml").read_text()), recipes.names())
    with api() as client:
        there = client.read_deployments()
        flows = {f.id: f.name for f in client.read_flows()}
    awake = {f"{flows[d.flow_id]}/{d.name}": all(s.active for s in d.schedules) for d in there if d.schedules}
    mark = _mark(declared)
    marked = settings.home / "deployed.json"
    wanted = {(d["entrypoint"].split(".")[-1].replace("_", "-"), d["name"]) for d in declared["deployments"]}
    if (kept(marked) or {}).get("mark") == mark and wanted <= {(flows[d.flow_id], d.name) for d in there}:
        return False
    path = settings.home / "prefect.yaml"
    replace(path, yaml.safe_dump(keep_schedules(declared, awake)))
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(path)],
        capture_output=True, text=True, env=os.environ, cwd=settings.home,
    )  # fmt: skip
    if done.returncode:
        raise Refusal(
            f"Prefect refused ({(done.stdout + done.stderr).strip()[-400:]})", ROOT / "prefect.yaml", "Mend the file"
        )
    keep(marked, {"mark": mark})
    return True


def _mark(declared: dict[str, Any]) -> str:
    """Of the declarations and of the flows, whose parameters a deployment describes."""
    digest = hashlib.sha256(json.dumps(declared, sort_keys=True).encode())
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()
