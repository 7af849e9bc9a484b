"""The settings: each is an environment variable `RATCHET_<NAME>`; the defaults bind to loopback."""

from __future__ import annotations

import functools
import hashlib
import ipaddress
import os
import socket
import unicodedata
import urllib.parse
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from ratchet.errors import Refusal

ROOT = Path(__file__).resolve().parent.parent
"""The checkout: where prefect.yaml, uv.lock and the rooms are."""


LOOPBACK_NAME = "mlflow.localhost"
"""A name of 127.0.0.1 that browsers resolve by themselves: at the number, MLflow's page opens its assistant's pane."""
_IP = r"^(\d+\.\d+\.\d+\.\d+|[0-9a-fA-F]*:[0-9a-fA-F:.]*)$"
_Address = Annotated[str, Field(pattern=_IP, examples=["192.168.1.7"])]
_Port = Annotated[int, Field(ge=1, le=65535)]


def is_printable(text: str) -> bool:
    """Whether a text has no control character, half of a pair, or separator of lines; joiners of emoji are welcome."""
    return not any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in text)


def without_password(url: str) -> str:
    """The URL for people to see."""
    parts = urllib.parse.urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def url_of(address: str, port: int) -> str:
    """The URL of a server that listens there; one that listens everywhere is reached on loopback."""
    if ipaddress.ip_address(address).is_unspecified:
        address = "::1" if ":" in address else "127.0.0.1"
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


class Settings(BaseSettings):
    """The settings of one stack. Two stacks with different homes and ports run side by side."""

    model_config = SettingsConfigDict(env_prefix="RATCHET_", frozen=True, env_ignore_empty=True)

    home: Path = Field(ROOT / ".ratchet", description="Where all state lives.")
    prefect_port: _Port = Field(4200, description="The Prefect server and its UI.")
    mlflow_port: _Port = Field(5000, description="The MLflow server and its UI.")
    gateway_port: _Port = Field(8080, description="The gateway, which callers send requests to.")
    envoy_admin_port: _Port = Field(9901, description="Envoy's admin interface.")
    bento_ports: str = Field("3100-3199", pattern=r"^\d+-\d+$", examples=["3100-3199"], description="Ports for bentos.")
    host_name: str = Field(
        default_factory=lambda: socket.gethostname().lower(),
        pattern=r"^[a-z0-9][a-z0-9.-]*$",
        examples=["gpu-2"],
        description="This host's name; its work queue on the pool `gpu` is named after it.",
    )
    address: _Address = Field("127.0.0.1", description="The address at which the gateway reaches this host's bentos.")
    device: Literal["cpu", "gpu"] = Field("cpu", description="What bentos run on here; a missing GPU is an error.")
    gpus: str = Field(
        "",
        pattern=r"^$|^\d+(,\d+)*$",
        examples=["0,1"],
        description="The GPUs for bentos, one process per revision on each; empty means all if the device is `gpu`.",
    )
    memory_mb: int = Field(0, ge=0, description="Memory of all bentos, on each GPU or without one; 0 is no limit.")
    gateway_listen: _Address = Field("127.0.0.1", description="The address at which callers reach the gateway.")
    allowed_origins: str = Field(
        "",
        pattern=r"^$|^https?://[^/,\s]+(,https?://[^/,\s]+)*$",
        examples=["https://shop.example.org"],
        description="Origins whose pages may send requests to the gateway from a browser, separated by commas.",
    )
    servers_listen: _Address = Field("127.0.0.1", description="The private address of Prefect and MLflow.")
    recipes: str = Field("", description=f"More recipe folders, separated by `{os.pathsep}`.")
    prefect_at: str = Field("", description="URL of the Prefect server; empty means on this machine.")
    mlflow_at: str = Field("", description="URL of the MLflow server; empty means on this machine.")
    ledger_url: str = Field(
        "",
        pattern=r"^$|^sqlite:///|^postgresql\+psycopg://[^/]+/[^/?]+",
        description="SQLAlchemy URL of the ledger; empty means SQLite under the home. With Postgres, MLflow and "
        "Prefect use databases beside it, with the suffixes `_mlflow` and `_prefect`.",
    )
    notify: str = Field(
        "",
        pattern=r"^$|^[a-z0-9-]+/[a-z0-9-]+$",
        examples=["slack-webhook/ratchet"],
        description="The block of Prefect, as `type/name`, that is told of releases, rollbacks, harm and approvals.",
    )
    ingest_memory_mb: int = Field(1024, ge=64, description="Memory limit for reading one source file.")
    ingest_disk_mb: int = Field(1024, ge=1, description="Disk limit for reading one source, and its size limit.")
    links: str = Field(
        "",
        description="Folders, separated by colons, to which links in a folder of images may point, beside that folder; "
        "`.dvc/cache`, for example.",
    )
    inbox: str = Field(
        "",
        description="A folder or bucket prefix, as a URL (`s3://bucket/prefix`), with a folder for each recipe: the "
        "files there are moved into the recipe's inbox.",
    )
    log_mb: int = Field(
        256, ge=0, description="Disk limit on each host for what a recipe logs until it is collected; 0 logs nothing."
    )
    tick_seconds: float = Field(
        0.5, gt=0, description="Seconds between two ticks of the controller, and of each agent."
    )
    warm_seconds: float = Field(300, gt=0, description="Time limit in seconds for a bento to become ready on one host.")
    dask_address: str = Field("", description="A Dask cluster that trains families; its workers share this home.")
    ray_address: str = Field("", description="A Ray cluster that trains families; its workers share this home.")
    benchmark_host: str = Field("", description="The host that measures variants; empty means the first by name.")
    shift_seconds: float = Field(30, gt=0, description="Time limit in seconds for the gateway to apply a new split.")
    clock: str = Field("", description="The file by which a replay turns the time of data; empty means the real time.")
    start_seconds: float = Field(180, gt=0, description="Time limit in seconds for a process to become healthy.")

    @field_validator("home")
    @classmethod
    def _usable_home(cls, home: Path) -> Path:
        if "?" in str(home) or not is_printable(str(home)):
            raise ValueError("the path of a database in it must have no `?` and no control character")
        return home

    @field_validator("bento_ports")
    @classmethod
    def _ports_in_order(cls, ports: str) -> str:
        first, last = map(int, ports.split("-"))
        if not 1 <= first <= last <= 65535:
            raise ValueError("the ports are not in order")
        return ports

    @field_validator("servers_listen")
    @classmethod
    def _specific_address(cls, address: str) -> str:
        if ipaddress.ip_address(address).is_unspecified:
            raise ValueError("other machines need a specific address: give this machine's")
        return address

    @property
    def prefect_url(self) -> str:
        return self.prefect_at.rstrip("/") or url_of(self.servers_listen, self.prefect_port)

    @property
    def mlflow_url(self) -> str:
        return self.mlflow_at.rstrip("/") or url_of(self.servers_listen, self.mlflow_port)

    @property
    def mlflow_page(self) -> str:
        """Where people open MLflow."""
        on_loopback = not self.mlflow_at and self.servers_listen == "127.0.0.1"
        return f"http://{LOOPBACK_NAME}:{self.mlflow_port}" if on_loopback else self.mlflow_url

    @property
    def gateway_url(self) -> str:
        return url_of(self.gateway_listen, self.gateway_port)

    @property
    def origins(self) -> tuple[str, ...]:
        return tuple(filter(None, self.allowed_origins.split(",")))

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.envoy_admin_port}"

    @property
    def ledger(self) -> str:
        return self.ledger_url or f"sqlite:///{self.home / 'ledger.db'}"

    def host(self, name: str) -> Settings:
        """The settings of another host on this machine: a home below this one, and the same servers and ledger."""
        servers = {"prefect_at": self.prefect_url, "mlflow_at": self.mlflow_url, "ledger_url": self.ledger}
        return self.model_copy(update={**servers, "home": self.home / "hosts" / name, "host_name": name})

    @property
    def marker(self) -> str:
        """The private marker in the environment of every process that this home's supervisor starts."""
        return hashlib.sha256(str(self.home.resolve()).encode()).hexdigest()[:16]

    @property
    def linked_folders(self) -> tuple[Path, ...]:
        return tuple(Path(p).expanduser() for p in self.links.split(os.pathsep) if p)

    @property
    def recipe_folders(self) -> tuple[Path, ...]:
        return (ROOT / "recipes", *(Path(p) for p in self.recipes.split(os.pathsep) if p))


@functools.cache
def settings() -> Settings:
    """This process's settings, read once. Raises Refusal naming the variable that is wrong."""
    try:
        config = Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "RATCHET_" + str(first["loc"][0]).upper()
        given = name if name == "RATCHET_LEDGER_URL" else f"{name}={first['input']}"  # the URL may hold a password
        examples = Settings.model_fields[str(first["loc"][0])].examples or ()
        next = f"Give a value such as {examples[0]}, or unset it" if examples else "Correct or unset it"
        what = "the setting is wrong" + ("" if examples else f" ({first['msg']})")
        raise Refusal(what, given, next) from None
    # A relative path would mean another folder in a worker's temporary directory.
    folders = os.pathsep.join(str(Path(p).expanduser().resolve()) for p in config.recipes.split(os.pathsep) if p)
    return config.model_copy(update={"home": config.home.expanduser().resolve(), "recipes": folders})


def is_known(variable: str) -> bool:
    """Whether Ratchet reads this variable: a setting, a data folder, a database, a user's name, or its own marker."""
    name = variable.removeprefix("RATCHET_").lower()
    return (
        name in Settings.model_fields or name == "who" or name.endswith(("_dir", "_url")) or name.startswith("private_")
    )


TELEMETRY_OFF = {
    "DO_NOT_TRACK": "1",
    "BENTOML_DO_NOT_TRACK": "True",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "ORT_DISABLE_TELEMETRY": "1",
}
