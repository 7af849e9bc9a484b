"""What a host takes from a package, and what it refuses; files that outlive a process."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ratchet.errors import Refusal
from ratchet.files import load, replace_json, save, sha256
from ratchet.fleet.host import Host
from ratchet.fleet.package_cache import PackageCache, lock_of
from ratchet.fleet.stack import HOST, SERVERS, WORKERS, Stack
from ratchet.settings import settings
from ratchet.types import Package, to_json
from releases import gc
from releases.state import State


def packed(path: Path, *members: tuple[str, bytes | None]) -> Package:
    """A `.bento` with these members, a symbolic link where there are no bytes; and the package that names it."""
    with tarfile.open(path, "w:xz") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return Package("small-fashion", "1", "key", "small-fashion:v1", sha256(path), "somewhere")


def from_file(path: Path) -> Callable[[Package, Path], None]:
    def fetch(package: Package, to: Path) -> None:
        to.write_bytes(path.read_bytes())

    return fetch


def test_a_package_is_unpacked_once_and_serves_by_a_relative_path(home: Path, tmp_path: Path) -> None:
    package = packed(tmp_path / "a.bento", ("bento.yaml", b"x"), ("src/model/meta.json", b"{}"))
    cache = PackageCache(settings())
    folder = cache.unpack(package, from_file(tmp_path / "a.bento"))
    assert (folder / "src" / "model" / "meta.json").read_bytes() == b"{}"
    cache.point_current(package)
    current = home / "bentos" / "small-fashion" / "current"
    assert (current / home.name / "bentos" / "small-fashion" / "current" / "bento.yaml").read_bytes() == b"x"

    def never(package: Package, path: Path) -> None:
        raise AssertionError("it is here already")

    assert cache.unpack(package, never) == folder


def test_gc_leaves_a_package_that_somebody_uses_whatever_its_age(home: Path, tmp_path: Path) -> None:
    package = packed(tmp_path / "a.bento", ("bento.yaml", b"x"))
    cache, states = PackageCache(settings()), {package.recipe: State()}
    with cache.using(package, from_file(tmp_path / "a.bento")) as folder:
        listed_before_it_was_used = [gc.Garbage(path, 1, lock_of(path)) for path in (folder, cache.packed(package))]
        gc.remove([*listed_before_it_was_used, *gc.find([settings()], states, before=1e12)])
        assert (folder / "bento.yaml").exists()
        assert cache.has(package)
    gc.remove(gc.find([settings()], states, before=1e12))
    assert not folder.exists()
    assert not cache.has(package)


@pytest.mark.parametrize("name", ["../out", "/tmp/out", "a/../../out"])
def test_a_package_that_reaches_out_of_its_folder_is_refused(name: str, home: Path, tmp_path: Path) -> None:
    package = packed(tmp_path / "a.bento", ("bento.yaml", b"x"), (name, b"x"))
    with pytest.raises(Refusal, match="not a file or folder inside it"):
        PackageCache(settings()).unpack(package, from_file(tmp_path / "a.bento"))
    assert not list(home.rglob("out"))


def test_a_package_with_a_link_is_refused(home: Path, tmp_path: Path) -> None:
    package = packed(tmp_path / "a.bento", ("bento.yaml", b"x"), ("link", None))
    with pytest.raises(Refusal, match="not a file or folder inside it"):
        PackageCache(settings()).unpack(package, from_file(tmp_path / "a.bento"))


def test_bytes_that_are_not_those_of_the_digest_are_refused_and_not_kept(home: Path, tmp_path: Path) -> None:
    package = packed(tmp_path / "a.bento", ("bento.yaml", b"x"))
    (tmp_path / "a.bento").write_bytes(b"something else")
    with pytest.raises(Refusal, match="its SHA-256 is"):
        PackageCache(settings()).unpack(package, from_file(tmp_path / "a.bento"))
    assert not list((home / "bentos").rglob("*.bento"))


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    assert load(tmp_path / "a.json") is None
    save(tmp_path / "a.json", {"x": [1, 2]})
    assert load(tmp_path / "a.json") == {"x": [1, 2]}


@pytest.mark.parametrize("content", [{"x": 1}, [1], {"format": 99}])
def test_a_file_that_a_newer_ratchet_wrote_or_that_is_broken_is_refused(content: object, tmp_path: Path) -> None:
    replace_json(tmp_path / "a.json", content)
    with pytest.raises(Refusal):
        load(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(Refusal, match="cannot be read"):
        load(tmp_path / "a.json")


def test_a_revision_file_that_is_broken_does_not_hide_the_others(home: Path) -> None:
    package = Package("small-fashion", "1", "key", "small-fashion:v1", "digest", "somewhere")
    save(home / "revisions" / "bento-small-fashion-v1.json", {"package": to_json(package), "ports": {"": 3107}})
    (home / "revisions" / "bento-small-fashion-v2.json").write_text("garbage")
    assert [a.revision for a in Host(settings()).endpoints()] == ["v1"]
    assert (home / "revisions" / "bento-small-fashion-v2.json").read_text() == "garbage", "a look changes nothing"
    (home / "revisions" / "bento-small-fashion-v3.json").write_text('{"format": 99}')
    with pytest.raises(Refusal, match="Upgrade Ratchet"):
        Host(settings()).endpoints()


@pytest.mark.parametrize("own", [{}, {"NO_PROXY": "internal.example"}, {"RATCHET_SERVERS_LISTEN": "10.1.2.3"}])
def test_a_process_of_the_stack_describes_the_programs_as_its_parent_did(
    own: dict[str, str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise `ratchet up` would restart everything after an agent has restarted the stack."""
    names = {*HOST, *SERVERS, *WORKERS} - {"envoy"}
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for variable, value in own.items():
        monkeypatch.setenv(variable, value)
    settings.cache_clear()
    programs = Stack(settings()).programs(names)
    for variable, value in programs["agent"].environment.items():
        monkeypatch.setenv(variable, value)
    settings.cache_clear()
    assert Stack(settings()).programs(names) == programs
