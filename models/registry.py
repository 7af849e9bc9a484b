"""The only file that speaks MLflow: aliases and files over REST, runs and versions with its package.

What runs often (status, the controller, a release on a host) uses the REST half and never waits for
MLflow's imports.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from ratchet.errors import Refusal
from ratchet.settings import settings

EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""Without it MLflow's UI opens the experiment as GenAI."""


@dataclass(frozen=True)
class Version:
    recipe: str
    version: str
    model_id: str
    run_id: str
    tags: Mapping[str, str]
    aliases: tuple[str, ...]


def alias(recipe: str, name: str) -> str | None:
    """The version that an alias names, or None. Raises Refusal when MLflow does not answer."""
    answer = _call("GET", "registered-models/alias", {"name": recipe, "alias": name})
    return None if answer is None else str(answer["model_version"]["version"])


def set_alias(recipe: str, name: str, version: str | None) -> None:
    """Points an alias at a version; None takes it away."""
    if version is None:
        if alias(recipe, name) is not None:
            _call("DELETE", "registered-models/alias", {"name": recipe, "alias": name})
    elif _call("POST", "registered-models/alias", {"name": recipe, "alias": name, "version": version}) is None:
        raise Refusal(f"MLflow has no version {version}", recipe, "See its UI")


def set_tag(recipe: str, version: str, key: str, value: str) -> None:
    _call("POST", "model-versions/set-tag", {"name": recipe, "version": version, "key": key, "value": value[:5000]})


def version(recipe: str, number: str) -> Version | None:
    """A version with its tags and aliases, or None where there is none."""
    answer = _call("GET", "model-versions/get", {"name": recipe, "version": number})
    if answer is None:
        return None
    found = answer["model_version"]
    tags = {t["key"]: t["value"] for t in found.get("tags", [])}
    aliases = tuple(found.get("aliases", []))
    return Version(recipe, str(found["version"]), found.get("model_id", ""), found.get("run_id", ""), tags, aliases)


def artifact_path(experiment: str, model_id: str, name: str) -> str:
    """Where MLflow's artifact proxy has a file of a logged model."""
    return f"{experiment}/models/{model_id}/artifacts/{name}"


def download(path: str, to: Path, limit: int = 2 << 30) -> None:
    """Fetches an artifact to a file. Raises Refusal when it is not there or larger than `limit` bytes."""
    url = f"{settings().mlflow_url}/api/2.0/mlflow-artifacts/artifacts/{urllib.parse.quote(path)}"
    to.parent.mkdir(parents=True, exist_ok=True)
    try:
        with httpx.stream("GET", url, timeout=30, trust_env=False) as answer, to.open("wb") as file:
            if answer.status_code != 200:
                raise Refusal(f"MLflow answered {answer.status_code}", path, "See the version's artifacts in its UI")
            size = 0
            for chunk in answer.iter_bytes():
                size += len(chunk)
                if size > limit:
                    raise Refusal(f"the artifact is larger than {limit >> 20} MB", path, "Build a smaller one")
                file.write(chunk)
    except httpx.HTTPError as error:
        raise _silent(error) from error


def _call(method: str, route: str, body: Mapping[str, str]) -> dict[str, Any] | None:
    """An answer's JSON; None where MLflow says that there is no such thing (400 or 404)."""
    url = f"{settings().mlflow_url}/api/2.0/mlflow/{route}"
    sent: dict[str, Any] = {"params": body} if method == "GET" else {"json": body}
    try:
        answer = httpx.request(method, url, timeout=5, trust_env=False, **sent)
    except httpx.HTTPError as error:
        raise _silent(error) from error
    if answer.status_code in (400, 404):
        code = answer.json().get("error_code", "")
        if code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
    if answer.status_code != 200:
        raise Refusal(f"MLflow answered {answer.status_code} ({answer.text[:200]})", route, "See `ratchet logs mlflow`")
    found: dict[str, Any] = answer.json()
    return found


def _silent(error: Exception) -> Refusal:
    return Refusal(f"MLflow does not answer ({type(error).__name__})", settings().mlflow_url, "See `ratchet status`")
