"""The only file that speaks MLflow: aliases and files over REST, runs and versions with its package.

What runs often (status, the controller, a release on a host) uses the REST half and never waits for
MLflow's imports.
"""

from __future__ import annotations

import io
import json
import re
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx

from ratchet.errors import Refusal
from ratchet.files import FORMAT
from ratchet.local_http import LOCAL
from ratchet.settings import settings
from ratchet.words import Snapshot

EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""Without it MLflow's UI opens the experiment as GenAI."""


class Made(Protocol):
    """What knows the run and the model that it came from."""

    @property
    def run_id(self) -> str: ...

    @property
    def model_id(self) -> str: ...


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


def set_alias(recipe: str, name: str, version: str | None) -> bool:
    """Points an alias at a version, None takes it away; False when a person deleted that version."""
    if version is not None:
        sent = {"name": recipe, "alias": name, "version": version}
        return _call("POST", "registered-models/alias", sent) is not None
    if alias(recipe, name) is not None:
        _call("DELETE", "registered-models/alias", {"name": recipe, "alias": name})
    return True


def set_tag(recipe: str, version: str, key: str, value: str) -> bool:
    """Sets a version's tag, a long text cut at MLflow's limit; False when there is no such version."""
    sent = {"name": recipe, "version": version, "key": key, "value": value[:5000]}
    return _call("POST", "model-versions/set-tag", sent) is not None


def version(recipe: str, number: str) -> Version | None:
    """A version with its tags and aliases, or None where there is none."""
    if not re.fullmatch(r"[0-9]{1,9}", number):  # others end in a 500 of MLflow's
        return None
    answer = _call("GET", "model-versions/get", {"name": recipe, "version": number})
    if answer is None:
        return None
    found = answer["model_version"]
    tags = {t["key"]: t["value"] for t in found.get("tags", [])}
    aliases = tuple(found.get("aliases", []))
    model_id = found["source"].removeprefix("models:/")
    return Version(recipe, str(found["version"]), model_id, found.get("run_id", ""), tags, aliases)


def artifact_path(experiment: str, model_id: str, name: str) -> str:
    """Where MLflow's artifact proxy has a file of a logged model."""
    return f"{experiment}/models/{model_id}/artifacts/{name}"


def beside(of: Made, name: str) -> str:
    """The same, of a version's model."""
    return artifact_path(experiment_of(of.run_id), of.model_id, name)


def page(of: Made) -> str:
    """Where MLflow's UI shows a version's model and all its artifacts."""
    at = f"#/experiments/{experiment_of(of.run_id)}/models/{of.model_id}/artifacts"
    shown = httpx.URL(settings().mlflow_url).copy_with(userinfo=b"")  # a password is nobody's to read
    return f"{str(shown).rstrip('/')}/{at}?workflowType=machine_learning"


def download(path: str, to: Path, limit: int = 2 << 30) -> None:
    """Fetches an artifact to a file. Raises Refusal when it is not there or larger than `limit` bytes."""
    to.parent.mkdir(parents=True, exist_ok=True)
    with to.open("wb") as file:
        for chunk in _chunks(path, limit):
            file.write(chunk)


def read(path: str, limit: int = 64 << 20) -> str:
    """A text artifact. Raises Refusal like `download`."""
    return b"".join(_chunks(path, limit)).decode()


def read_json(path: str) -> dict[str, Any]:
    """A JSON artifact of ours. Raises Refusal like `download`, and on one of a format that is newer than this code."""
    found: dict[str, Any] = json.loads(read(path))
    if found["format"] > FORMAT:
        raise Refusal(f"the artifact has format {found['format']}, and this Ratchet reads {FORMAT}", path, "Upgrade it")
    return found


def _chunks(path: str, limit: int) -> Iterator[bytes]:
    try:
        with httpx.stream("GET", _artifact(path), timeout=30, **LOCAL) as answer:
            if answer.status_code != 200:
                raise Refusal(f"MLflow answered {answer.status_code}", path, "See the version's artifacts in its UI")
            size = 0
            for chunk in answer.iter_bytes():
                size += len(chunk)
                if size > limit:
                    raise Refusal(f"the artifact is larger than {limit >> 20} MB", path, "Build a smaller one")
                yield chunk
    except httpx.HTTPError as error:
        raise _silent(error) from error


def _artifact(path: str) -> str:
    return f"{settings().mlflow_url}/api/2.0/mlflow-artifacts/artifacts/{urllib.parse.quote(path)}"


def _call(method: str, route: str, body: Mapping[str, str]) -> dict[str, Any] | None:
    """An answer's JSON; None where MLflow says that there is no such thing (400 or 404)."""
    url = f"{settings().mlflow_url}/api/2.0/mlflow/{route}"
    sent: dict[str, Any] = {"params": body} if method == "GET" else {"json": body}
    try:
        answer = httpx.request(method, url, timeout=5, **LOCAL, **sent)
    except httpx.HTTPError as error:
        raise _silent(error) from error
    try:
        told: Any = answer.json()
    except ValueError:
        told = None
    if isinstance(told, dict) and told.get("error_code") in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
        return None
    if answer.status_code != 200 or not isinstance(told, dict):
        raise Refusal(f"MLflow answered {answer.status_code} ({answer.text[:200]})", route, "See `ratchet logs mlflow`")
    found: dict[str, Any] = told
    return found


def _silent(error: Exception) -> Refusal:
    return Refusal(f"MLflow does not answer ({type(error).__name__})", settings().mlflow_url, "See `ratchet status`")


def upload(path: str, content: Path | str) -> None:
    """Puts a file, or a text, where `artifact_path` says."""
    try:
        with content.open("rb") if isinstance(content, Path) else io.BytesIO(content.encode()) as sent:
            answer = httpx.put(_artifact(path), content=sent, timeout=60, **LOCAL)
    except httpx.HTTPError as error:
        raise _silent(error) from error
    if answer.status_code != 200:
        raise Refusal(f"MLflow answered {answer.status_code} ({answer.text[:200]})", path, "See `ratchet logs mlflow`")


def has(path: str) -> bool:
    """Whether an artifact is there."""
    try:
        with httpx.stream("GET", _artifact(path), timeout=10, **LOCAL) as answer:
            return answer.status_code == 200
    except httpx.HTTPError as error:
        raise _silent(error) from error


def experiment_of(run_id: str) -> str:
    answer = _call("GET", "runs/get", {"run_id": run_id})
    if answer is None:
        raise Refusal("MLflow has no such run", run_id, "See its UI")
    return str(answer["run"]["info"]["experiment_id"])


def find(recipe: str, tag: str, value: str) -> Version | None:
    """The newest version with that tag, or None."""
    numbers = _numbers(recipe, tag, value)
    return version(recipe, max(numbers, key=int)) if numbers else None


def having(recipe: str, tag: str, value: str) -> list[Version]:
    """All versions with that tag."""
    return [found for number in _numbers(recipe, tag, value) if (found := version(recipe, number))]


def _numbers(recipe: str, tag: str, value: str) -> list[str]:
    answer = _call("GET", "model-versions/search", {"filter": f"name = '{recipe}' and tags.`{tag}` = '{value}'"})
    return [str(v["version"]) for v in (answer or {}).get("model_versions", [])]


class Run:
    """An open training run in MLflow. `open_run` gives one."""

    def __init__(self, recipe: str, run_id: str, experiment: str) -> None:
        self.recipe, self.id, self.experiment = recipe, run_id, experiment

    def epoch(self, number: int, figures: Mapping[str, float]) -> None:
        import mlflow

        mlflow.log_metrics(dict(figures), step=number)

    def metrics(self, figures: Mapping[str, float]) -> None:
        import mlflow

        mlflow.log_metrics(dict(figures))

    def tag(self, name: str, value: str) -> None:
        import mlflow

        mlflow.set_tag(name, value)

    def figure(self, figure: Any, name: str) -> None:
        import mlflow

        mlflow.log_figure(figure, name)

    def register(
        self, model: Any, files: Sequence[Path], example: Any, answers: Any, requirements: list[str],
        tags: Mapping[str, str],
    ) -> tuple[str, str]:  # fmt: skip
        """Logs the Keras model and the files of its export, then registers them as a version: (version, model id).

        The version comes last, so that one that is there is whole.
        """
        import mlflow
        from mlflow.exceptions import MlflowException
        from mlflow.models import infer_signature

        client = mlflow.MlflowClient()
        # MLflow's keras flavour writes the example before it makes its folder; this one logs `.keras` as well.
        logged = mlflow.tensorflow.log_model(
            model, name="model", signature=infer_signature(example, answers), input_example=example,
            pip_requirements=requirements,
        )  # fmt: skip
        for file in files:
            upload(artifact_path(self.experiment, logged.model_id, file.name), file)
        try:
            client.create_registered_model(self.recipe)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        made = client.create_model_version(
            self.recipe, source=f"models:/{logged.model_id}", run_id=self.id, model_id=logged.model_id, tags=dict(tags)
        )
        return str(made.version), str(logged.model_id)


@contextmanager
def open_run(recipe: str, key: str, parameters: Mapping[str, Any], tags: Mapping[str, str]) -> Iterator[Run]:
    """A run of the recipe's experiment; one that a killed process left open under `key` goes on.

    Raises Refusal when MLflow does not answer.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    mlflow.set_tracking_uri(settings().mlflow_url)
    client = mlflow.MlflowClient()
    try:
        experiment = mlflow.set_experiment(recipe)
        for name, value in EXPERIMENT_TAGS.items():
            client.set_experiment_tag(experiment.experiment_id, name, value)
        open_ = client.search_runs(
            [experiment.experiment_id], f"tags.`ratchet.key` = '{key}' and attributes.status = 'RUNNING'", max_results=1
        )
        with mlflow.start_run(run_id=open_[0].info.run_id if open_ else None, log_system_metrics=True) as run:
            mlflow.log_params(dict(parameters))
            mlflow.set_tags({"ratchet.key": key, **tags})
            yield Run(recipe, run.info.run_id, experiment.experiment_id)
    except MlflowException as error:
        raise Refusal(f"MLflow refused ({str(error)[:300]})", recipe, "See `ratchet logs mlflow`") from error


@contextmanager
def nested(name: str, parameters: Mapping[str, Any]) -> Iterator[Run]:
    """A run below the open one."""
    import mlflow

    with mlflow.start_run(run_name=name, nested=True) as run:
        mlflow.log_params(dict(parameters))
        yield Run(name, run.info.run_id, run.info.experiment_id)


def log_snapshot(snapshot: Snapshot, inputs: Any, targets: Any, table: Path) -> None:
    """The data set input of the open run, with our fingerprint: MLflow's own sees the first 10,000 values."""
    import mlflow
    from mlflow.data.delta_dataset_source import DeltaDatasetSource

    source = DeltaDatasetSource(path=str(table), delta_table_version=snapshot.version)
    data = mlflow.data.from_numpy(
        inputs, source=source, targets=targets, name=snapshot.recipe, digest=snapshot.fingerprint[:32]
    )
    mlflow.log_input(data, context="training")
    mlflow.set_tags({"ratchet.snapshot": snapshot.fingerprint, "ratchet.delta_version": str(snapshot.version)})
