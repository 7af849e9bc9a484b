"""Which split held when, the history of a release, and what may be removed: all from the ledger alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.errors import Refusal
from ratchet.recipe import ReleasePlan, Step
from ratchet.settings import settings
from ratchet.types import Check, Package, Split
from releases import api, gc, history
from releases.ledger import Entry
from releases.state import Baked, Drained, Event, Failed, Healthy, Passed, Promoted, Requested, Routed

PLAN = ReleasePlan(steps=(Step(5),), bake_seconds=100.0, bake_mirror=10)
PASS = (Check("failed", 0.0, 0.1, "passed", "0 of 1000"),)


def package(version: str) -> Package:
    return Package("small-fashion", version, f"key{version}", f"small-fashion:v{version}-k", "d" * 64, "p")


def request(version: str, at: float) -> Requested:
    return Requested(package(version), "release", f"because of {version}", False, ("a",), PLAN, 60, 10, at)


def test_what_cannot_be_read_back_is_never_appended(home: Path) -> None:
    """An entry stays for ever, and a fold that fails on it would stop controller, agent and every rollback."""
    with pytest.raises(Refusal, match="could not be read back"):
        api.steer("small-fashion", "freeze", "me", "caf\udce9")
    with pytest.raises(Refusal, match="could not be read back"):
        api.steer("small-fashion", "freeze", "\udcff", "holidays")
    assert api.open_ledger().read("small-fashion") == []
    assert api.steer("small-fashion", "freeze", "me", "café ☃").frozen == "café ☃"


@given(st.text(max_size=700))
def test_a_reason_is_one_printable_line_or_refused(text: str) -> None:
    try:
        line = api.one_line(text)
    except Refusal:
        return
    assert line.isprintable()
    assert 0 < len(line) <= 500
    assert api.one_line(line) == line


EVENTS: tuple[Event, ...] = (
    request("1", 10), Healthy(1, {"a": 1.0}, 11), Promoted(1, "1", 12),
    request("2", 20), Healthy(2, {"a": 2.0}, 21), Passed(2, 0, PASS, 22), Promoted(2, "2", 23),
    Baked(2, PASS, 30), Drained("v1-k", 31),
    request("3", 40), Healthy(3, {"a": 3.0}, 41), Failed(3, "it answered wrongly", PASS, 42), Drained("v3-k", 43),
)  # fmt: skip


def entries(events: tuple[Event, ...] = EVENTS) -> list[Entry]:
    ledger = api.StateCache()
    for event in events:
        ledger.append("small-fashion", event, "tester")
    return api.open_ledger().read("small-fashion")


def test_the_history_shows_which_version_had_which_share_at_any_moment(home: Path) -> None:
    shares = history.shares(entries())
    assert [(s.at, dict(s.split.weights), s.split.mirror) for s in shares] == [
        (11, {"v1-k": 100}, ""),
        (21, {"v1-k": 95, "v2-k": 5}, ""),
        (22, {"v2-k": 100}, ""),
        (23, {"v2-k": 100}, "v1-k"),
        (30, {"v2-k": 100}, ""),
        (41, {"v2-k": 95, "v3-k": 5}, ""),
        (42, {"v2-k": 100}, ""),
    ]
    assert history.at(shares, 9) is None
    held = history.at(shares, 41.5)
    assert held is not None
    assert held.split == Split({"v2-k": 95, "v3-k": 5})
    assert (shares[-1].who, shares[-1].why) == ("tester", "it answered wrongly")


def test_the_history_tells_what_the_gateway_confirmed_and_when(home: Path) -> None:
    confirmed = (*EVENTS[:2], Routed(Split({"v1-k": 100}), 11.5), *EVENTS[2:5],
                 Failed(2, "the gateway refuses them", (), 22), Drained("v2-k", 23))  # fmt: skip
    shares = history.shares(entries(confirmed))
    assert [(share.at, dict(share.split.weights)) for share in shares] == [(11.5, {"v1-k": 100})], "and never 5 %"
    assert (shares[0].kind, shares[0].why) == ("healthy", "because of 1")
    release = history.release(api.open_ledger().read("small-fashion"), "2")
    assert all(event["split"]["weights"] == {"v1-k": 100} for event in release["events"])


def test_the_history_of_a_release_holds_every_step_with_its_checks(home: Path) -> None:
    release = history.release(entries(), "2")
    assert [e["event"] for e in release["events"]] == ["requested", "healthy", "passed", "promoted", "baked", "drained"]
    assert release["events"][2]["checks"][0]["detail"] == "0 of 1000"
    assert release["events"][1]["split"]["weights"] == {"v1-k": 95, "v2-k": 5}


def test_gc_removes_what_is_old_and_never_what_serves_or_may_serve_again(home: Path) -> None:
    entries()
    state = api.state_of("small-fashion")
    assert gc.needed(state) == {"v2-k", "v1-k"}
    cache = home / "bentos" / "small-fashion"
    for name in ("v1-k-dddd", "v2-k-dddd", "v3-k-dddd", "v4-k-dddd"):
        (cache / name / "src").mkdir(parents=True)
        (cache / name / "src" / "service.py").write_text("x")
        if name < "v4":
            os.utime(cache / name, (1, 1))
    (cache / "current").symlink_to("v2-k-dddd")
    garbage = gc.find([settings()], {"small-fashion": state}, 1000)
    assert [each.path.name for each in garbage] == ["v3-k-dddd"], "v4 is young"
    gc.remove(garbage)
    assert sorted(p.name for p in cache.glob("[!.]*")) == ["current", "v1-k-dddd", "v2-k-dddd", "v4-k-dddd"]
