"""What a killed process leaves is swept, and what is in use is kept, whatever its age."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ratchet import scratch
from ratchet.errors import Refusal
from ratchet.files import locked
from ratchet.fleet.supervisor import Program, Supervisor
from ratchet.local_http import unusable_proxies
from ratchet.settings import Settings, settings
from releases import gc

HOLD = """
import sys, time
from ratchet.scratch import scratch_folder
with scratch_folder(outside_home=sys.argv[1] == "outside") as folder:
    (folder / "big").write_text("x")
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("where", ["home", "outside"])
def test_the_folder_of_a_killed_process_is_swept_and_a_living_ones_is_not(home: Path, where: str) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLD, where], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    folder = Path(process.stdout.readline().strip())
    try:
        assert scratch.sweep(settings()) == 0
        assert (folder / "big").exists()
    finally:
        process.kill()
        process.wait()
    assert scratch.sweep(settings()) == 1
    assert not folder.exists()
    assert not list(folder.parent.glob("*.lock"))


def test_gc_leaves_the_epochs_of_a_training_under_way_whatever_its_age(home: Path) -> None:
    for name in ("under-way", "finished"):
        (home / "training" / name).mkdir(parents=True)
        (home / "training" / name / "epoch-1.weights.h5").write_text("x")
    with locked(home / "training" / ".locks" / "under-way"):
        garbage = gc.find([settings()], {}, before=1e12)
        gc.remove(
            [*garbage, gc.Garbage(home / "training" / "under-way", 1, home / "training" / ".locks" / "under-way")]
        )
        assert [each.path.name for each in garbage] == ["finished"]
        assert sorted(path.name for path in (home / "training").glob("[!.]*")) == ["under-way"]
    assert [each.path.name for each in gc.find([settings()], {}, before=1e12)] == ["under-way"]


@pytest.mark.parametrize("folder", ["a #home", "a ;home"])
def test_a_path_that_supervisord_would_cut_off_is_refused_in_a_sentence(tmp_path: Path, folder: str) -> None:
    with pytest.raises(Refusal, match=r"would cut a value off at ' [#;]'"):
        Supervisor(Settings(home=tmp_path / folder)).launch()


def test_a_program_with_such_a_path_or_setting_is_refused_too(home: Path) -> None:
    for program in (Program("p", ("x", "a #b"), {}, home), Program("p", ("x",), {"A": "secret ;2"}, home)):
        with pytest.raises(Refusal, match="would cut") as refused:
            Supervisor(settings())._section(program)
        assert "secret" not in str(refused.value), "it may be a password"


@pytest.mark.parametrize("name", ["what?", "a\nb"])
def test_a_home_that_is_no_path_of_a_database_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATCHET_HOME", f"/tmp/{name}")
    settings.cache_clear()
    with pytest.raises(Refusal, match="the setting is wrong"):
        settings()
    settings.cache_clear()


def test_only_a_proxy_of_another_kind_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "ALL_PROXY": "socks5://u:p@h:1",
        "http_proxy": "http://h:2",
        "HTTPS_PROXY": "h:3",
        "https_proxy": "ftp://h",
    }
    for name in ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    assert sorted(unusable_proxies()) == ["ALL_PROXY", "https_proxy"]


def test_the_error_of_a_process_that_lived_long_is_not_why_the_next_one_does_not_answer(home: Path) -> None:
    supervisor = Supervisor(settings())
    supervisor.logs.mkdir(parents=True)
    log = supervisor.logs / "prefect.log"
    log.write_text("ratchet: started at 1000\nOldError: locked\nratchet: started at 1900\nstarting\n")
    assert supervisor.last_error("prefect") == ""
    log.write_text(log.read_text() + "NewError: no port\nratchet: started at 1910\nstarting\n")
    assert supervisor.last_error("prefect") == "NewError: no port"
