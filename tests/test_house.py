"""The house: every setting and command documented, light things light, refusals without a trace."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from flows import deploy
from ratchet import recipe as recipes
from ratchet import settings as settings_module
from ratchet.errors import Refusal
from ratchet.settings import Settings
from tests.conftest import ROOT

BIN = Path(sys.executable).parent
COMMANDS = sorted(p.stem for p in (ROOT / "commands").glob("[a-z]*.py"))
DOCS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([BIN / "ratchet", *arguments], capture_output=True, text=True)


def test_every_setting_is_documented() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    for name, field in Settings.model_fields.items():
        assert f"`RATCHET_{name.upper()}`" in page
        assert field.description is not None
        assert field.description in page
    assert set(re.findall(r"^\| `RATCHET_([A-Z_]+)`", page, re.MULTILINE)) == {n.upper() for n in Settings.model_fields}


def test_every_command_in_the_documents_exists() -> None:
    for path in DOCS:
        for name in re.findall(r"(?:`|^)ratchet ([a-z]+)", path.read_text(), re.MULTILINE):
            assert name in COMMANDS, f"{path.name} names `ratchet {name}`"


def test_every_link_in_the_documents_leads_somewhere() -> None:
    for path in DOCS:
        for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
            if "://" not in target:
                assert (path.parent / target).exists(), f"{path.name} links to {target}"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_without_heavy_imports(name: str) -> None:
    done = run(name, "--help")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) > 3


LIGHT = {
    "releases.controller": {"mlflow", "prefect", "tensorflow", "keras", "great_expectations", "bentoml", "deltalake"},
    "commands.status": {"mlflow", "prefect", "tensorflow", "great_expectations", "bentoml"},
    "commands.rollback": {"mlflow", "prefect", "tensorflow", "great_expectations", "bentoml", "deltalake"},
    "models.registry": {"mlflow", "tensorflow"},
    "flows.retrain_and_release": {"mlflow", "tensorflow", "great_expectations", "bentoml"},
}


@pytest.mark.parametrize("module", sorted(LIGHT))
def test_what_runs_often_imports_nothing_heavy(module: str) -> None:
    code = f"import {module}, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not LIGHT[module] & set(loaded)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("loop", "nobody"), "there is no such recipe: nobody"),
        (("ingest", "fashion-mnist", "/nowhere"), "there is no such file or folder: /nowhere"),
        (("ingest", "fashion-mnist"), "give one of PATH, --next and --sql"),
        (("ingest", "../x", "/nowhere"), "there is no such recipe"),
        (("quarantine", "show", "small-fashion", "x"), "no such batch is in quarantine: x"),
        (("withdraw", "small-fashion", "x", "--why", "y"), "no such batch is admitted: x"),
        (("history", "nobody"), "there is no such recipe"),
        (("loop", "small-fashion"), "Prefect does not answer"),
        (("rollback", "small-fashion"), "the controller does not run"),
        (("nothing",), "No such command"),
    ],
)
def test_a_refusal_is_a_sentence_and_no_trace(
    home: Path, arguments: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RATCHET_PREFECT_PORT", "1")
    done = run(*arguments)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


@pytest.mark.parametrize("arguments", [("history", "x\udcff"), ("freeze", "small-fashion", "--why", "caf\udce9")])
def test_an_argument_that_is_not_text_is_refused_before_anything_is_written(
    home: Path, arguments: tuple[str, ...]
) -> None:
    done = run(*arguments)
    assert done.returncode == 1
    assert "the argument is not UTF-8" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (home / "ledger.db").exists()


def test_an_unknown_setting_is_reported(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATCHET_GATWAY_PORT", "1")
    monkeypatch.setenv("RATCHET_MY_IMAGES_DIR", "/data")
    errors = run("history", "small-fashion").stderr
    assert "RATCHET_GATWAY_PORT is not a setting of Ratchet; did you mean RATCHET_GATEWAY_PORT?" in errors
    assert "IMAGES" not in errors


WRONG = [("GATEWAY_PORT", "high"), ("DEVICE", "tpu"), ("BENTO_PORTS", "3100"), ("BENTO_PORTS", "9-5"), ("GPUS", "foo")]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_setting_is_named(home: Path, name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"RATCHET_{name}", value)
    settings_module.settings.cache_clear()
    with pytest.raises(Refusal, match=f"RATCHET_{name}={value}"):
        settings_module.settings()


def test_listing_recipes_imports_none(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_one.py").write_text("raise SystemExit('imported')")
    monkeypatch.setenv("RATCHET_RECIPES", str(tmp_path))
    settings_module.settings.cache_clear()
    assert recipes.names() == [
        "broken-one", "clipart", "fashion-mnist", "flight-delay", "flight-minutes", "sf-temperature", "spam"
    ]  # fmt: skip
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(Refusal, match="holds no"):
        recipes.load("empty")


def test_a_recipe_that_ends_the_process_is_named_like_any_broken_one(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "leaving.py").write_text("raise SystemExit(3)")
    monkeypatch.setenv("RATCHET_RECIPES", str(tmp_path))
    settings_module.settings.cache_clear()
    assert "the recipe cannot be read (3)" in recipes.load_error("leaving")
    (tmp_path / "old.py").write_text("from ratchet.images import ImageContract")
    assert "Import its contract from ratchet.kinds.image" in recipes.load_error("old")
    settings_module.settings.cache_clear()


def test_a_second_recipe_of_the_same_name_is_neither_read_nor_written(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "spam.py").write_text("raise ValueError")
    monkeypatch.setenv("RATCHET_RECIPES", str(tmp_path))
    settings_module.settings.cache_clear()
    assert recipes.files("spam") == [ROOT / "recipes" / "spam.py", tmp_path / "spam.py"]
    done = run("new", "spam", "--kind", "text", "/nowhere")
    assert "there is a recipe of that name already" in done.stderr
    assert "the gateway uses that name itself" in run("new", "v2", "--kind", "text", "/nowhere").stderr
    assert "is not read, since" in run("status").stdout
    settings_module.settings.cache_clear()


def test_a_data_setting_that_workers_would_not_see_is_refused(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "recipes" / "fashion_mnist.py").read_text().replace('"fashion-mnist"', '"other"')
    (tmp_path / "other.py").write_text(text.replace("fashion_mnist_dir", "my_images"))
    monkeypatch.setenv("RATCHET_RECIPES", str(tmp_path))
    settings_module.settings.cache_clear()
    with pytest.raises(Refusal, match="does not end in _dir"):
        recipes.load("other")


def test_a_recipe_file_is_all_that_a_new_recipe_needs() -> None:
    declared = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    expanded = deploy.expand(declared, ["fashion-mnist", "mine"])["deployments"]
    named = {(d["entrypoint"], d["name"]) for d in expanded}
    assert ("flows.retrain_and_release.retrain_and_release", "mine") in named
    assert ("flows.rollback.rollback", "mine") in named
    assert len(expanded) == len(declared["deployments"]) + 2
    assert deploy.expand({**declared, "deployments": expanded}, ["fashion-mnist", "mine"])["deployments"] == expanded
    for deployment in expanded:
        assert deployment["pull"] == []
        assert deployment["work_pool"]["job_variables"] == {"command": "setsid python -m prefect.engine"}
        awake = any(s["active"] for s in deployment.get("schedules", []))
        kept = deployment["name"] in ("reconcile", "collect")
        assert awake == kept, "a schedule that trains is off until a person turns it on"


KINDS, TASKS = (
    frozenset(path.parent.name for path in (ROOT / "ratchet" / registry).glob("*/__init__.py"))
    for registry in ("kinds", "tasks")
)
ALLOWED = {
    ("bentos/request_guard.py", "[name for name, _ in fields] != ['image']"),  # the name of a form's field
    ("bentos/service.py", "{'text': quote}"),  # a key of a response
}


MAY_IMPORT = {"ratchet/recipe.py": "recipes import from it", "ratchet/kinds/series/contract.py": "a series is forecast"}


def switches(path: Path, registry: str, known: frozenset[str]) -> Iterator[str]:
    """Where a file compares with, or looks up by, the name of a kind or a task, or imports from one's folder."""
    name = str(path.relative_to(ROOT))
    for node in ast.walk(ast.parse(path.read_text())):
        values: list[ast.AST] = []
        if isinstance(node, ast.Compare):
            values = [part for side in (node.left, *node.comparators) for part in ast.walk(side)]
        elif isinstance(node, ast.Dict):
            values = [key for key in node.keys if key]
        elif isinstance(node, ast.MatchValue):
            values = [node.value]
        named = any(isinstance(value, ast.Constant) and value.value in known for value in values)
        by = ("contract.kind", "answers.task")
        looked_up = isinstance(node, ast.Subscript) and ast.unparse(node.slice).endswith(by)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith(f"ratchet.{registry}"):
            parts = {*str(node.module).split("."), *(alias.name for alias in node.names)}
            if parts & known and name not in MAY_IMPORT:
                yield f"{name}:{node.lineno}: {ast.unparse(node)}"
        if (named or looked_up) and (name, ast.unparse(node)) not in ALLOWED:
            yield f"{name}:{getattr(node, 'lineno', 0)}: {ast.unparse(node)[:100]}"


@pytest.mark.parametrize(("registry", "known"), [("kinds", KINDS), ("tasks", TASKS)])
def test_nothing_outside_of_its_folder_switches_on_a_kind_or_a_task(registry: str, known: frozenset[str]) -> None:
    assert {"image", "series", "text", "table"} <= KINDS
    assert {"classification", "regression", "forecast", "multilabel"} == TASKS
    rooms = ("bentos", "commands", "expectations", "flows", "models", "ratchet", "releases", "replays")
    files = (path for room in rooms for path in sorted((ROOT / room).rglob("*.py")))
    own = ROOT / "ratchet" / registry
    assert [line for path in files if own not in path.parents for line in switches(path, registry, known)] == []
