"""The only file that uses MLflow: aliases and artifacts over REST, runs and versions with its package.

What runs often (status, the controller, a release on a host) uses REST alone and never waits for MLflow's imports.
"""

import io
import json
import re
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx

from ratchet.errors import Refusal
from ratchet.files import FORMAT
from ratchet.fleet.supervisor import Supervisor
from ratchet.local_http import LOCAL
from ratchet.settings import settings, without_password
from ratchet.types import Package, Snapshot

EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""Without this tag MLflow's UI opens the experiment in its GenAI mode."""
EXPERIMENT = "ratchet.experiment"
"""A tag of a version: the id of its experiment, which MLflow does not return with a version."""


class Registered(Protocol):
    """A version, or the candidate that it was registered from."""

    @property
    def recipe(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def experiment(self) -> str: ...

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

    @property
    def experiment(self) -> str:
        return self.tags.get(EXPERIMENT, "")


def alias(recipe: str, name: str) -> str | None:
    """The version that an alias names, or None. Raises Refusal if MLflow does not answer."""
    body = _call("GET", "registered-models/alias", {"name": recipe, "alias": name})
    return None if body is None else str(body["model_version"]["version"])


def deleted_experiment(recipe: str) -> str:
    """The id of the recipe's experiment if a person deleted it, or nothing. Raises Refusal if MLflow is silent."""
    body = _call("GET", "experiments/get-by-name", {"experiment_name": recipe})
    experiment = body["experiment"] if body else {"lifecycle_stage": "active"}
    return str(experiment["experiment_id"]) if experiment["lifecycle_stage"] == "deleted" else ""


def restoring(experiment: str) -> str:
    """The command that restores a deleted experiment."""
    return f"`MLFLOW_TRACKING_URI={without_password(settings().mlflow_url)} mlflow experiments restore -x {experiment}`"


def set_alias(recipe: str, name: str, version: str | None) -> bool:
    """Points an alias to a version, or removes it for None; False if a person deleted the version."""
    if version is not None:
        parameters = {"name": recipe, "alias": name, "version": version}
        return _call("POST", "registered-models/alias", parameters) is not None
    if alias(recipe, name) is not None:
        _call("DELETE", "registered-models/alias", {"name": recipe, "alias": name})
    return True


def set_tag(recipe: str, version: str, key: str, value: str) -> bool:
    """Sets a version's tag, cut at MLflow's limit; False if there is no such version."""
    parameters = {"name": recipe, "version": version, "key": key, "value": value[:5000]}
    return _call("POST", "model-versions/set-tag", parameters) is not None


def version(recipe: str, number: str) -> Version | None:
    """A version with its tags and aliases, or None if there is none."""
    if not re.fullmatch(r"[0-9]{1,9}", number):  # MLflow answers other values with 500
        return None
    body = _call("GET", "model-versions/get", {"name": recipe, "version": number})
    if body is None:
        return None
    data = body["model_version"]
    tags = {tag["key"]: tag["value"] for tag in data.get("tags", [])}
    model_id, aliases = data["source"].removeprefix("models:/"), tuple(data.get("aliases", []))
    return Version(recipe, str(data["version"]), model_id, data.get("run_id", ""), tags, aliases)


def artifact_path(experiment: str, model_id: str, name: str) -> str:
    """The path of a logged model's file at MLflow's artifact proxy."""
    return f"{experiment}/models/{model_id}/artifacts/{name}"


def path_of(registered: Registered, name: str) -> str:
    """The path of a version's artifact at MLflow's artifact proxy.

    Raises Refusal for a version that Ratchet did not register.
    """
    if not registered.experiment:
        which = f"version {registered.version} of {registered.recipe}"
        raise Refusal("the version was not registered by Ratchet", which, "Use a version that the loop registered")
    return artifact_path(registered.experiment, registered.model_id, name)


def ui_url(registered: Registered) -> str:
    """Where MLflow's UI shows a version's model and all its artifacts."""
    route = f"#/experiments/{registered.experiment}/models/{registered.model_id}/artifacts"
    return f"{without_password(settings().mlflow_page).rstrip('/')}/{route}?workflowType=machine_learning"


def fetch_package(package: Package, path: Path) -> None:
    """Fetches a package's `.bento`. Raises Refusal like `download`."""
    download(package.artifact, path)


def download(path: str, to: Path, limit: int = 2 << 30) -> None:
    """Fetches an artifact to a file. Raises Refusal if it is missing or larger than `limit` bytes."""
    to.parent.mkdir(parents=True, exist_ok=True)
    with to.open("wb") as file:
        for chunk in _chunks(path, limit):
            file.write(chunk)


def read(path: str, limit: int = 64 << 20) -> str:
    """A text artifact. Raises Refusal like `download`."""
    return b"".join(_chunks(path, limit)).decode()


def read_json(path: str) -> dict[str, Any]:
    """A JSON artifact of ours. Raises Refusal like `download`, and on a format newer than this code."""
    content: dict[str, Any] = json.loads(read(path))
    if content["format"] > FORMAT:
        what = f"the artifact has format {content['format']}, and this Ratchet reads {FORMAT}"
        raise Refusal(what, path, "Upgrade Ratchet")
    return content


def _chunks(path: str, limit: int) -> Iterator[bytes]:
    try:
        with httpx.stream("GET", _artifact_url(path), timeout=30, **LOCAL) as response:
            if response.status_code == 404:
                raise Refusal(
                    "MLflow no longer has this file",
                    path,
                    "It was deleted there; a version that is trained on new data replaces this one",
                )
            if response.status_code != 200:
                what = f"MLflow answered {response.status_code}"
                raise Refusal(what, path, "See `ratchet logs mlflow`")
            size = 0
            for chunk in response.iter_bytes():
                size += len(chunk)
                if size > limit:
                    raise Refusal(f"the artifact is larger than {limit >> 20} MB", path, "Build a smaller one")
                yield chunk
    except httpx.HTTPError as error:
        raise _no_answer(error) from error


def _artifact_url(path: str) -> str:
    return f"{settings().mlflow_url}/api/2.0/mlflow-artifacts/artifacts/{urllib.parse.quote(path)}"


def _call(method: str, route: str, parameters: Mapping[str, str]) -> dict[str, Any] | None:
    """The JSON of a response, or None if MLflow says that there is no such thing (400 or 404)."""
    url = f"{settings().mlflow_url}/api/2.0/mlflow/{route}"
    arguments: dict[str, Any] = {"params": parameters} if method == "GET" else {"json": parameters}
    try:
        response = httpx.request(method, url, timeout=5, **LOCAL, **arguments)
    except httpx.HTTPError as error:
        raise _no_answer(error) from error
    try:
        body: Any = response.json()
    except ValueError:
        body = None
    if isinstance(body, dict) and body.get("error_code") in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
        return None
    if response.status_code != 200 or not isinstance(body, dict):
        raise _bad_status(response, route)
    return dict(body)


def _no_answer(error: Exception) -> Refusal:
    return Refusal(f"MLflow does not answer ({type(error).__name__})", settings().mlflow_url, "See `ratchet status`")


def _bad_status(response: httpx.Response, which: str, log: "_ServerLog | None" = None) -> Refusal:
    reason = (log.error() if log and response.status_code >= 500 else "") or response.text[:200]
    what = f"MLflow answered {response.status_code} ({reason})"
    return Refusal(what, which, "See `ratchet logs mlflow`")


class _ServerLog:
    """What MLflow's log on this machine says from here on: it alone tells why an artifact could not be stored."""

    def __init__(self) -> None:
        self._supervisor = Supervisor(settings())
        self._size = self._supervisor.log_size("mlflow")

    def error(self) -> str:
        until = time.monotonic() + 2  # the server answers before it writes its log
        while not (error := self._supervisor.last_error("mlflow", self._size)) and time.monotonic() < until:
            time.sleep(0.2)
        return error


def upload(path: str, content: Path | str) -> None:
    """Puts a file or a text to the path of an artifact. Raises Refusal with the reason if MLflow cannot store it."""
    log = _ServerLog()
    try:
        with content.open("rb") if isinstance(content, Path) else io.BytesIO(content.encode()) as file:
            response = httpx.put(_artifact_url(path), content=file, timeout=60, **LOCAL)
    except httpx.HTTPError as error:
        raise _no_answer(error) from error
    if response.status_code != 200:
        raise _bad_status(response, path, log)


def has(path: str) -> bool:
    """Whether there is such an artifact."""
    try:
        with httpx.stream("GET", _artifact_url(path), timeout=10, **LOCAL) as response:
            return response.status_code == 200
    except httpx.HTTPError as error:
        raise _no_answer(error) from error


def newest_with_tag(recipe: str, tag: str, value: str) -> Version | None:
    """The newest version with that tag, or None."""
    numbers = _numbers(recipe, tag, value)
    return version(recipe, max(numbers, key=int)) if numbers else None


def all_with_tag(recipe: str, tag: str, value: str) -> list[Version]:
    """All versions with that tag."""
    versions = (version(recipe, number) for number in _numbers(recipe, tag, value))
    return [each for each in versions if each]


def _numbers(recipe: str, tag: str, value: str) -> list[str]:
    body = _call("GET", "model-versions/search", {"filter": f"name = '{recipe}' and tags.`{tag}` = '{value}'"})
    return [str(data["version"]) for data in (body or {}).get("model_versions", [])]


class Run:
    """An open training run in MLflow, from `open_run`."""

    def __init__(self, recipe: str, run_id: str, experiment: str) -> None:
        import mlflow

        self.recipe, self.id, self.experiment, self._mlflow = recipe, run_id, experiment, mlflow

    def metrics(self, metrics: Mapping[str, float], epoch: int | None = None) -> None:
        self._mlflow.log_metrics(dict(metrics), step=epoch)

    def tag(self, name: str, value: str) -> None:
        self._mlflow.set_tag(name, value)

    def figure(self, figure: Any, name: str) -> None:
        self._mlflow.log_figure(figure, name)

    def register(
        self,
        model: Any,
        files: list[Path],
        example: Any,
        outputs: Any,
        requirements: list[str],
        tags: dict[str, str],
        description: str,
        after: int,
    ) -> tuple[str, str]:
        """Logs the Keras model, if there is one, and the files of its export, then registers a version.

        Returns its number and the model id. The version comes last, so that one that exists is complete. Its number is
        above `after`: MLflow counts from 1 again if the registered model was deleted or renamed.
        """
        from mlflow.exceptions import MlflowException
        from mlflow.models import infer_signature

        client = self._mlflow.MlflowClient()
        # MLflow's keras flavour writes the example before it creates its folder; this flavour logs `.keras` as well.
        example_and_signature = {"signature": infer_signature(example, outputs), "input_example": example}
        if model is None:  # it was trained by a function, and is an ONNX file
            import onnx

            model, log_model = onnx.load(files[0]), self._mlflow.onnx.log_model
        else:
            log_model = self._mlflow.tensorflow.log_model
        logged = log_model(model, name="model", pip_requirements=requirements, **example_and_signature)
        for file in files:
            upload(artifact_path(self.experiment, logged.model_id, file.name), file)
        try:
            client.create_registered_model(self.recipe)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        origin = {"source": f"models:/{logged.model_id}", "run_id": self.id, "model_id": logged.model_id}
        about = {"tags": tags, "description": description, **origin}
        registered = client.create_model_version(self.recipe, **about)
        while int(registered.version) <= after:
            client.delete_model_version(self.recipe, str(registered.version))  # its number is not given again
            registered = client.create_model_version(self.recipe, **about)
        return str(registered.version), str(logged.model_id)


@contextmanager
def open_run(recipe: str, key: str, name: str, parameters: Mapping[str, Any], tags: Mapping[str, str]) -> Iterator[Run]:
    """A run of the recipe's experiment; a run that a killed process left open under `key` is continued.

    Raises Refusal if MLflow does not answer.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    mlflow.set_tracking_uri(settings().mlflow_url)
    client, log = mlflow.MlflowClient(), _ServerLog()
    try:
        existing = client.get_experiment_by_name(recipe)
        if existing and existing.lifecycle_stage == "deleted":
            restore = restoring(existing.experiment_id)
            raise Refusal("its experiment was deleted in MLflow", recipe, f"Restore it: {restore}, and run again")
        experiment = mlflow.set_experiment(recipe).experiment_id
        for tag, value in EXPERIMENT_TAGS.items():
            client.set_experiment_tag(experiment, tag, value)
        unfinished = f"tags.`ratchet.key` = '{key}' and attributes.status = 'RUNNING'"
        runs = client.search_runs([experiment], unfinished, max_results=1)
        with mlflow.start_run(run_id=runs[0].info.run_id if runs else None, run_name=name) as run:
            mlflow.log_params({key: value for key, value in parameters.items() if value != ""})
            mlflow.set_tags({"ratchet.key": key, **tags})
            yield Run(recipe, run.info.run_id, experiment)
    except MlflowException as error:
        # After many answers of 500 MLflow's client says no more than that; the server's log says why.
        reason = (log.error() if "Max retries" in str(error) else "") or str(error)[:300]
        next = "Correct that, and run the loop again: it resumes after the last epoch. See `ratchet logs mlflow`"
        raise Refusal(f"MLflow refused ({reason})", recipe, next) from error


@contextmanager
def nested(name: str, parameters: Mapping[str, Any]) -> Iterator[Run]:
    """A run below the open one."""
    import mlflow

    with mlflow.start_run(run_name=name, nested=True) as run:
        mlflow.log_params(dict(parameters))
        yield Run(name, run.info.run_id, run.info.experiment_id)


def log_snapshot(snapshot: Snapshot, inputs: Any, targets: Any, table: Path) -> None:
    """Logs the open run's data set with our fingerprint; MLflow's own covers only the first 10,000 values."""
    import mlflow
    from mlflow.data.delta_dataset_source import DeltaDatasetSource

    source = DeltaDatasetSource(path=str(table), delta_table_version=snapshot.version)
    data = mlflow.data.from_numpy(
        inputs, source=source, targets=targets, name=snapshot.recipe, digest=snapshot.fingerprint[:32]
    )
    mlflow.log_input(data, context="training")
    mlflow.set_tags({"ratchet.snapshot": snapshot.fingerprint, "ratchet.delta_version": str(snapshot.version)})
