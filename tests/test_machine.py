"""The release machine and reconcile, over thousands of random histories without a process."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ratchet.recipe import ReleasePlan, Step
from ratchet.types import Check, Endpoint, Package, Split
from releases import event_codec, machine, reconcile
from releases.machine import step
from releases.state import (
    Baked,
    Drained,
    Event,
    Failed,
    Fleet,
    Halted,
    Healthy,
    HostPort,
    Keep,
    Kind,
    Outcome,
    Passed,
    Promoted,
    Requested,
    Route,
    Routed,
    Serve,
    State,
    Steered,
    Sync,
    Synced,
)
from releases.transitions import next_event, on_fallback

PLAN = ReleasePlan(steps=(Step(), Step(mirror=20), Step(50)), bake_seconds=100.0, step_seconds=50.0)
ONCE = PLAN.with_strategy("all_at_once")
PASS = (Check("failed", 0.0, 0.1, "passed", "0 of 1000"),)
FAIL = (Check("failed", 0.5, 0.1, "failed", "500 of 1000"),)


def package(version: str) -> Package:
    return Package("r", version, f"key{version}", f"r:v{version}", f"digest{version}", f"path/{version}")


versions = st.sampled_from("1234")
times = st.floats(0, 1000)
attempts = st.integers(1, 6)
plans = st.sampled_from([PLAN, PLAN.with_strategy("blue_green"), ONCE])


def requested(
    version: str, kind: Kind = "release", by_hand: bool = False, plan: ReleasePlan = ONCE, at: float = 0.0
) -> Requested:
    return Requested(package(version), kind, "because", by_hand, ("a", "b"), plan, 60, 10, at)


events: st.SearchStrategy[Event] = st.one_of(
    st.builds(requested, versions, st.sampled_from(["release", "rollback"]), st.booleans(), plans, times),
    st.builds(Healthy, attempts, st.just({"a": 1.0}), times),
    st.builds(Passed, attempts, st.integers(0, 2), st.just(PASS), times),
    st.builds(Failed, attempts, st.just("broken"), st.just(FAIL), times, st.booleans()),
    st.builds(Halted, attempts, versions.map(lambda v: f"v{v}"), st.just("both"), st.just(FAIL), times),
    st.builds(Promoted, attempts, versions, times),
    st.builds(Baked, attempts, st.just(PASS), times),
    st.builds(Drained, versions.map(lambda v: f"v{v}"), times),
    st.builds(Synced, st.tuples(*[st.none() | versions] * 3), st.integers(0, 3), times),
    st.builds(Routed, st.builds(Split, st.dictionaries(versions, st.integers(0, 100), max_size=2)), times),
    st.builds(
        Steered, st.sampled_from(["pause", "resume", "promote", "freeze", "thaw"]), st.just("a hand"), times
    ),
)  # fmt: skip


def wanted_split(state: State) -> Split:
    (route,) = [a for a in machine.actions(state) if isinstance(a, Route)]
    return route.split


@given(st.lists(events, max_size=60))
@settings(max_examples=2000, deadline=None)
def test_no_history_leaves_traffic_on_a_revision_that_was_not_shown_healthy(history: list[Event]) -> None:
    state = State()
    shown: set[str] = set()
    for event in history:
        if isinstance(event, Healthy) and state.phase == "warming" and event.attempt == state.attempt:
            assert state.challenger
            shown.add(state.challenger.revision)
        if isinstance(event, Halted) and state.champion and event.revision not in shown:
            continue  # `observe` names one of the two revisions
        state, actions = step(state, event)
        split = wanted_split(state)
        assert sum(split.weights.values()) in (0, 100)
        named = {*split.weights, split.mirror, split.fallback} - {""}
        assert named <= shown
        assert named <= {a.package.revision for a in actions if isinstance(a, Serve)}, (
            "what has traffic is kept running"
        )
        assert not named & {p.revision for p in state.draining}
        assert len(split.weights) <= 1 or state.phase == "trial", "one revision has all traffic but on trial"


@given(st.lists(events, max_size=60), events)
@settings(max_examples=1000, deadline=None)
def test_an_event_twice_does_no_more_than_once(history: list[Event], event: Event) -> None:
    once = through(State(), *history, event)
    twice = through(State(), *history, event, event)
    if not isinstance(event, Synced | Requested | Steered):
        assert once == twice
    assert once.champion == twice.champion or isinstance(event, Synced)
    assert once.former == twice.former


@given(st.lists(events, max_size=60))
@settings(max_examples=1000, deadline=None)
def test_every_history_ends_when_the_events_stop(history: list[Event]) -> None:
    """With nothing but the clock and an empty fleet, a release ends in champion, challenger or halted."""
    state = through(State(), *history, Steered("resume", "go on"))
    for _ in range(12):
        event = next_event(state, Fleet(hosts=frozenset("ab")), now=1e9)
        if event is None:
            break
        state = step(state, event)[0]
    assert state.phase in ("idle", "halted")
    assert not state.draining


@given(st.lists(events, max_size=30))
@settings(max_examples=500, deadline=None)
def test_events_come_back_from_the_ledger_as_they_went(history: list[Event]) -> None:
    for event in history:
        kind, body = event_codec.to_body(event)
        assert event_codec.from_body(kind, body, event.at) == event


def through(state: State, *events: Event) -> State:
    for event in events:
        state = step(state, event)[0]
    return state


def promoted(state: State, version: str, kind: Kind = "release", by_hand: bool = False) -> State:
    n = state.attempt + 1
    state = through(state, requested(version, kind, by_hand), Healthy(n, {"a": 1.0, "b": 1.0}), Promoted(n, version))
    return through(state, *(Drained(p.revision) for p in state.draining))


def on_trial(plan: ReleasePlan = PLAN) -> State:
    state = promoted(State(), "1")
    return through(state, requested("2", plan=plan), Healthy(2, {"a": 1.0, "b": 1.0}))


def test_a_rollback_goes_to_the_newest_champion_never_rolled_back_from() -> None:
    state = promoted(promoted(promoted(State(), "1"), "2"), "3")
    assert machine.rollback_target(state) == package("2")
    state = promoted(state, "2", "rollback", True)
    assert state.rolled_back == {"v3"}
    assert machine.rollback_target(state) == package("1")
    state = promoted(state, "1", "rollback", True)
    assert machine.rollback_target(state) is None, "3 and 2 were both rolled back from"


def test_a_version_rolled_back_is_released_again_only_by_hand() -> None:
    state = promoted(promoted(promoted(State(), "1"), "2"), "1", "rollback", True)
    refused = machine.refusal(state, requested("2"))
    assert refused is not None
    assert "rolled back" in refused.what
    assert step(state, requested("2"))[0] == state
    again = promoted(state, "2", by_hand=True)
    assert again.champion == package("2")
    assert again.rolled_back == frozenset()


def test_a_second_release_is_refused_while_one_is_in_progress_or_bakes() -> None:
    state = on_trial()
    for phase in ("trial", "baking"):
        refused = machine.refusal(state, requested("3"))
        assert refused is not None
        assert ("in progress" if phase == "trial" else "bake time") in refused.what
        state = through(state, *(Passed(2, n, PASS) for n in range(3)), Promoted(2, "2"))


def test_the_champions_own_package_is_refused_and_a_rebuilt_one_is_not() -> None:
    state = promoted(State(), "1")
    assert machine.refusal(state, replace(requested("2"), package=replace(package("2"), key="key1")))
    rebuilt = replace(package("1"), key="other", tag="r:v1-other")
    assert machine.refusal(state, replace(requested("1"), package=rebuilt)) is None


def test_a_version_whose_requests_the_other_answers_does_not_pass_for_well() -> None:
    trial, baking = on_trial(), through(on_trial(), *(Passed(2, n, PASS) for n in range(3)), Promoted(2, "2"))
    at_half = through(trial, Passed(2, 0, PASS), Passed(2, 1, PASS))
    hangs, stalls = {"v1": frozenset({("h", 1)}), "v2": frozenset()}, {"v1": frozenset(), "v2": frozenset()}
    for state, served in ((trial, False), (at_half, True), (baking, True)):
        assert on_fallback(state, replace(fleet(), healthy=hangs)) == served
        assert not on_fallback(state, replace(fleet(), healthy=stalls)), "then it is not this version's fault alone"
    for state in (at_half, baking):
        event = next_event(state, replace(fleet(), fallback_seconds=6.0), PASS, None, 1e9)
        assert isinstance(event, Failed)
        assert "healthy on no host for 6 s" in event.why


def test_a_refusal_says_what_to_do_in_that_phase() -> None:
    trial, baking = on_trial(), through(on_trial(), *(Passed(2, n, PASS) for n in range(3)), Promoted(2, "2"))
    assert baking.phase == "baking"
    for state, order in ((trial, "abort"), (baking, "promote")):
        refused = machine.refusal(state, requested("3"))
        assert refused is not None
        assert f"ratchet release {order} r" in refused.next
    refused = machine.refusal(baking, replace(requested("2"), package=replace(package("2"))))
    assert refused is not None
    assert "already serves" in refused.what
    frozen = step(trial, Steered("freeze", "holidays"))[0]
    again = machine.refusal(frozen, Steered("freeze", "another"))
    assert again is not None
    assert "holidays" in again.what


def test_a_frozen_recipe_takes_no_release_and_still_rolls_back() -> None:
    state = step(promoted(promoted(State(), "1"), "2"), Steered("freeze", "holidays"))[0]
    refused = machine.refusal(state, requested("3"))
    assert refused is not None
    assert "holidays" in refused.what
    assert machine.refusal(state, requested("1", "rollback", True)) is None
    assert machine.refusal(step(state, Steered("thaw", "back"))[0], requested("3")) is None


def test_a_canary_takes_its_steps_one_by_one_and_only_on_its_own_evidence() -> None:
    state = on_trial()
    assert wanted_split(state) == Split({"v1": 100})
    state = through(state, Passed(2, 1, PASS), Passed(1, 0, PASS), Passed(2, 0, PASS))
    assert wanted_split(state) == Split({"v1": 100}, "v2", 20)
    state = through(state, Steered("pause", "wait"), Passed(2, 1, PASS))
    assert state.step == 1
    state = through(state, Steered("resume", "go"), Passed(2, 1, PASS))
    assert wanted_split(state) == Split({"v1": 50, "v2": 50})
    state = through(state, Passed(2, 2, PASS))
    assert wanted_split(state) == Split({"v2": 100}, fallback="v1")
    state = through(state, Promoted(2, "2", 1000.0))
    assert (state.phase, state.deadline) == ("baking", 1100.0)
    assert wanted_split(state) == Split({"v2": 100}, "v1", PLAN.bake_mirror, "v1")
    assert {a.package.version for a in machine.actions(state) if isinstance(a, Serve)} == {"1", "2"}
    assert through(state, Baked(2)).draining == (package("1"),)


def test_whatever_fails_first_the_champion_keeps_all_traffic() -> None:
    state = through(promoted(State(), "1"), requested("2", plan=PLAN))
    forward = [Healthy(2, {"a": 1.0}), Passed(2, 0, PASS), Passed(2, 1, PASS), Passed(2, 2, PASS)]
    for n in range(len(forward) + 1):
        failed = through(state, *forward[:n], Failed(2, "it crashed"))
        assert failed.champion == package("1")
        assert wanted_split(failed) == Split({"v1": 100})
        assert Keep(package("2")) in machine.actions(failed), "it finishes what it has"
        outcome = "rolled back" if 0 < n < len(forward) else "failed"
        assert failed.outcomes[-1] == Outcome("2", outcome, "it crashed")
        assert (failed.rolled_back == {"v2"}) == (outcome == "rolled back"), "what had its chance waits for a hand"


def test_a_withdrawn_release_leaves_the_champion_everything_and_says_nothing_of_the_version() -> None:
    withdrawn = Failed(2, "its flow run was cancelled", withdrawn=True)
    state = through(promoted(State(), "1"), requested("2", plan=PLAN))
    forward = [Healthy(2, {"a": 1.0}), Passed(2, 0, PASS), Passed(2, 1, PASS), Passed(2, 2, PASS)]
    for n in range(len(forward) + 1):
        after = through(state, *forward[:n], withdrawn)
        assert (after.phase, after.champion, wanted_split(after)) == ("idle", package("1"), Split({"v1": 100}))
        assert after.rolled_back == frozenset(), "the next run may ask for it again"
    champion = through(state, *forward, Promoted(2, "2"))
    assert through(champion, withdrawn) == champion, "too late: it is champion, and stays"


def test_a_failure_in_the_bake_time_turns_back_to_the_warm_champion_at_once() -> None:
    state = through(on_trial(ONCE), Promoted(2, "2"))
    assert state.phase == "idle", "all at once has no bake time"
    state = through(on_trial(), *(Passed(2, n, PASS) for n in range(3)), Promoted(2, "2"))
    state = through(state, Failed(2, "it rots"))
    assert wanted_split(state) == Split({"v1": 100})
    state = through(state, Promoted(3, "1"))
    assert (state.champion, state.rolled_back) == (package("1"), {"v2"})
    assert Outcome("2", "rolled back", "it rots") in state.outcomes


def test_both_revisions_sick_keeps_the_better_one_and_waits_for_a_person() -> None:
    state = through(on_trial(), Halted(2, "v1", "both fail", FAIL))
    assert (state.phase, wanted_split(state)) == ("halted", Split({"v1": 100}))
    assert next_event(state, Fleet(hosts=frozenset("ab")), FAIL, True, 1e9) is None
    assert wanted_split(through(state, Steered("promote", "I know"))) == Split({"v2": 100}, fallback="v1")
    assert through(state, Failed(2, "aborted")).phase == "idle"


def test_a_crash_of_the_champion_is_no_reason_to_release() -> None:
    state = promoted(promoted(State(), "1"), "2")
    assert step(state, Failed(2, "it crashed"))[0] == state


def test_the_aliases_are_synced_until_mlflow_has_them() -> None:
    state = promoted(promoted(State(), "1"), "2")
    (sync,) = [a for a in machine.actions(state) if isinstance(a, Sync)]
    assert sync.aliases == ("2", None, "1")
    state = step(state, Synced(sync.aliases, len(sync.outcomes)))[0]
    assert not [a for a in machine.actions(state) if isinstance(a, Sync)]


def test_challenger_is_the_version_on_trial_and_nobody_afterwards() -> None:
    state = through(promoted(State(), "1"), requested("2", plan=PLAN))
    assert machine.aliases(state) == ("1", "2", None)
    assert machine.aliases(through(state, Healthy(2, {"a": 1.0}))) == ("1", "2", None)
    assert machine.aliases(through(state, Failed(2, "it crashed"))) == ("1", None, None)
    assert machine.aliases(promoted(promoted(State(), "1"), "2")) == ("2", None, "1")
    back = through(promoted(promoted(State(), "1"), "2"), requested("1", "rollback", True))
    assert machine.aliases(back) == ("2", None, "1"), "a rollback is no challenger"


def revision(version: str, host: str, since: float = 1.0, **more: object) -> Endpoint:
    at = Endpoint("r", f"v{version}", host, "127.0.0.1", int(version) + 10 * ord(host), "running", True, since, True)
    return replace(at, **more)  # type: ignore[arg-type]


def fleet(*revisions: Endpoint, **more: object) -> Fleet:
    hosts = frozenset("ab")
    return replace(Fleet(tuple(revisions), hosts, hosts), **more)  # type: ignore[arg-type]


def test_the_next_event_of_a_trial_follows_from_fleet_and_evidence() -> None:
    state = replace(on_trial(), deadline=100.0)
    both = fleet(*(revision(v, h) for v in "12" for h in "ab"))
    inconclusive = (replace(PASS[0], outcome="inconclusive"),)
    assert next_event(state, both, (), None, 1.0) is None, "no figures are no pass"
    assert next_event(state, both, inconclusive, None, 1.0) is None
    assert next_event(state, both, (replace(PASS[0], outcome="error"),), None, 1.0) is None
    assert next_event(state, both, PASS, None, 1.0) == Passed(2, 0, PASS, 1.0)
    failed = next_event(state, both, FAIL, None, 1.0)
    assert isinstance(failed, Failed)
    assert failed.why == "failed: 500 of 1000, at the comparison"
    late = next_event(state, both, inconclusive, None, 101.0)
    assert isinstance(late, Failed)
    assert "too little evidence in time" in late.why
    assert next_event(state, both, FAIL, True, 1.0) == Halted(2, "v1", "both revisions are unhealthy", FAIL, 1.0)
    again = fleet(revision("1", "a"), revision("2", "a", since=5.0), revision("2", "b"))
    assert next_event(state, again, PASS, None, 1.0) == Failed(2, "its process died on host a", PASS, 1.0)
    rebooted = fleet(
        revision("1", "a", since=5.0), revision("2", "a", since=5.0), revision("1", "b"), revision("2", "b")
    )
    assert next_event(state, rebooted, PASS, None, 1.0) == Passed(2, 0, PASS, 1.0), (
        "the host began anew, with all on it"
    )
    one = fleet(revision("2", "a"), hosts=frozenset("a"))
    assert next_event(state, one, PASS, None, 1.0) == Passed(2, 0, PASS, 1.0), "half of its hosts is no majority lost"
    lost = next_event(state, fleet(hosts=frozenset()), PASS, None, 1.0)
    assert isinstance(lost, Failed)
    assert "majority" in lost.why


def test_a_release_waits_for_every_host_that_it_names_and_not_for_dead_ones() -> None:
    state = through(promoted(State(), "1"), requested("2", plan=PLAN))
    assert next_event(state, fleet(revision("2", "a")), now=1.0) is None
    stale = fleet(revision("2", "a"), revision("2", "b"), current=frozenset("a"))
    assert next_event(state, stale, now=1.0) is None, "that host may be about to stop it"
    assert isinstance(next_event(state, fleet(revision("2", "a"), revision("2", "b")), now=1.0), Healthy)
    alone = fleet(revision("2", "a"), hosts=frozenset("a"))
    assert isinstance(next_event(state, alone, now=1.0), Healthy)
    assert isinstance(next_event(state, fleet(hosts=frozenset()), now=1.0), Failed)
    broken = fleet(revision("2", "a", fault="its SHA-256 is another"), revision("2", "b"))
    assert next_event(state, broken, now=1.0) == Failed(2, "its SHA-256 is another (on host a)", (), 1.0)


def test_a_host_with_several_gpus_is_warm_when_each_has_a_process_that_is() -> None:
    state = through(promoted(State(), "1"), requested("2", plan=PLAN))
    two = [revision("2", "a"), replace(revision("2", "b"), gpu="0"), replace(revision("2", "b"), gpu="1", since=3.0)]
    assert next_event(state, fleet(*two), now=1.0) == Healthy(2, {"a": two[0].since, "b": 3.0}, 1.0)
    assert next_event(state, fleet(*two[:2], replace(two[2], ready=False)), now=1.0) is None
    state = through(state, Healthy(2, {"a": two[0].since, "b": 3.0}))
    old = [revision("1", "a"), revision("1", "b")]
    assert next_event(state, fleet(*two, *old), PASS, None, 1.0) == Passed(2, 0, PASS, 1.0)
    again = fleet(*two[:2], replace(two[2], since=9.0), *old)
    assert next_event(state, again, PASS, None, 1.0) == Failed(2, "its process died on host b", PASS, 1.0)


def test_what_a_killed_supervisord_left_behind_does_not_make_a_new_process_a_dead_one() -> None:
    state = replace(on_trial(), hosts=("a",), started={"a": 1.0})
    left, new = (
        replace(revision("1", "a"), state="orphan"),
        [revision("1", "a", since=9.0), revision("2", "a", since=9.0)],
    )
    assert next_event(state, fleet(left, *new, hosts=frozenset("a")), PASS, None, 1.0) == Passed(2, 0, PASS, 1.0)


def test_a_rebuilt_package_that_fails_says_nothing_about_the_version_that_serves() -> None:
    state = promoted(State(), "1")
    rebuilt = replace(package("1"), key="rebuilt", tag="r:v1-rebuilt")
    request = replace(requested("1", plan=PLAN), package=rebuilt)
    failed = through(state, request, Healthy(2, {"a": 1.0}), Failed(2, "it is bad"))
    assert failed.rolled_back == {"v1-rebuilt"}
    assert failed.outcomes == state.outcomes


def test_a_host_that_the_release_does_not_name_does_not_warm() -> None:
    assert not reconcile.may_warm("x", ("a", "b"), frozenset(), 2)


@given(st.permutations(["a", "b", "c", "d", "e"]), st.integers(1, 3), st.data())
def test_hosts_warm_a_few_at_once_and_all_in_the_end(order: list[str], at_once: int, data: st.DataObject) -> None:
    cold = set(order)
    while cold:
        warming = {h for h in order if h in cold and reconcile.may_warm(h, order, frozenset(cold), at_once)}
        assert 0 < len(warming) <= at_once
        cold -= {data.draw(st.sampled_from(sorted(warming)))}


HOSTS = ("a", "b", "c")
GPUS = {"a": ("",), "b": ("",), "c": ("0", "1")}
hosts = st.sampled_from(HOSTS)


class ASimulatedFleet(RuleBasedStateMachine):
    """Hosts and a gateway under the real machine and the real plans; anything may die at any time.

    Hosts and the controller each work from what the other reported last, which may be old.
    """

    @initialize()
    def start_empty(self) -> None:
        self.state = State()
        self.revisions: dict[tuple[str, str, int], Endpoint] = {}
        self.split, self.addresses = Split(), dict[str, tuple[HostPort, ...]]()
        self.reported: dict[str, tuple[int, tuple[Endpoint, ...]]] = {}
        self.known: dict[str, tuple[State, dict[str, tuple[HostPort, ...]]]] = {}
        self.gone: set[str] = set()
        self.now, self.port = 0.0, 3100
        self.shown: set[str] = set()
        self.gateway = True
        self.checks: tuple[Check, ...] = PASS
        self.done = 0

    def enter(self, event: Event | None) -> None:
        if event:
            if isinstance(event, Healthy):
                assert self.state.challenger
                self.shown.add(self.state.challenger.revision)
            self.state = step(self.state, event)[0]

    @rule(version=versions, plan=plans, chosen=st.sets(hosts, min_size=1))
    def somebody_releases(self, version: str, plan: ReleasePlan, chosen: set[str]) -> None:
        self.enter(replace(requested(version, "release", True, plan, self.now), hosts=tuple(sorted(chosen))))

    @rule()
    def somebody_rolls_back(self) -> None:
        if target := machine.rollback_target(self.state):
            self.enter(replace(requested(target.version, "rollback", True, ONCE, self.now), hosts=HOSTS))

    @rule(order=st.sampled_from(["pause", "resume", "promote"]))
    def somebody_steers(self, order: str) -> None:
        self.enter(Steered(order, "a hand", self.now))  # type: ignore[arg-type]

    @rule()
    def somebody_aborts(self) -> None:
        self.enter(Failed(self.state.attempt, "aborted", (), self.now))

    @rule(rounds=st.integers(1, 4))
    def all_goes_well_for_a_while(self, rounds: int) -> None:
        for _ in range(rounds):
            self.round()

    @rule(host=hosts, version=versions)
    def a_bento_dies_and_comes_back(self, host: str, version: str) -> None:
        for key, a in self.revisions.items():
            if key[:2] == (host, f"v{version}") and a.state != "orphan":  # nobody would begin that one again
                self.revisions[key] = replace(a, state="starting", ready=False, since=self.now)

    @rule(host=hosts, version=versions)
    def a_bento_does_not_stay_alive(self, host: str, version: str) -> None:
        for key, a in self.revisions.items():
            if key[:2] == (host, f"v{version}"):
                self.revisions[key] = replace(a, state="failed", ready=False)

    @rule(version=versions, gpu=st.sampled_from(["0", "1"]))
    def the_bento_of_one_gpu_fails(self, version: str, gpu: str) -> None:
        for key, a in self.revisions.items():
            if (a.revision, a.gpu) == (f"v{version}", gpu):
                self.revisions[key] = replace(a, state="failed", ready=False)

    @rule(host=hosts)
    def a_supervisor_dies(self, host: str) -> None:
        for key, a in self.revisions.items():
            if key[0] == host and a.state == "running":
                self.revisions[key] = replace(a, state="orphan")

    @rule(host=hosts)
    def a_host_goes_or_comes(self, host: str) -> None:
        self.gone ^= {host}

    @rule(alive=st.booleans())
    def the_gateway_dies_or_lives(self, alive: bool) -> None:
        self.gateway = alive

    @rule(seconds=st.floats(0.5, 100))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(checks=st.sampled_from([PASS, FAIL, ()]))
    def the_figures_are(self, checks: tuple[Check, ...]) -> None:
        self.checks = checks

    def find(self, host: str, name: str) -> list[Endpoint]:
        return [
            a for key, a in self.revisions.items() if key[:2] == (host, name) and a.state in ("running", "starting")
        ]

    def start(self, host: str, wanted: Package) -> None:
        self.revisions = {
            k: a for k, a in self.revisions.items() if not (k[:2] == (host, wanted.revision) and a.state == "failed")
        }
        there = {a.gpu for a in self.find(host, wanted.revision)}
        for gpu in [g for g in GPUS[host] if g not in there]:
            self.port += 1
            endpoint = Endpoint(
                "r", wanted.revision, host, "127.0.0.1", self.port, "starting", False, self.now, gpu=gpu
            )
            self.revisions[host, wanted.revision, self.port] = endpoint

    @rule()
    def become_ready(self) -> None:
        for key, a in self.revisions.items():
            if a.state == "starting":
                self.revisions[key] = replace(a, state="running", ready=True)

    @rule(host=hosts)
    def a_host_learns(self, host: str) -> None:
        self.known[host] = (self.state, dict(self.addresses))

    @rule(host=hosts, stop=st.integers(0, 6))
    def a_host_ticks_and_dies(self, host: str, stop: int) -> None:
        if host not in self.gone:
            self.host_ticks(host, stop)

    def host_ticks(self, host: str, stop: int) -> None:
        state, declared = self.known.get(host, (State(), {}))
        mine = [a for k, a in self.revisions.items() if k[0] == host]
        for operation in reconcile.host_plan(machine.actions(state), mine, declared, state.champion)[:stop]:
            self.done += not isinstance(operation, reconcile.Point)
            match operation:
                case reconcile.Start(wanted):
                    self.start(host, wanted)
                case reconcile.Verify(_, a):
                    self.revisions[host, a.revision, a.port] = replace(a, verified=True)
                case reconcile.Stop(name):
                    for key in [k for k in self.revisions if k[:2] == (host, name)]:
                        self.ends(self.revisions.pop(key))
                case reconcile.EndOrphan(a):
                    self.ends(self.revisions.pop((host, a.revision, a.port)))
        self.reported[host] = (state.attempt, tuple(a for k, a in self.revisions.items() if k[0] == host))

    def ends(self, a: Endpoint) -> None:
        if self.gateway and self.split.weights.get(a.revision):
            assert a.host_port not in self.addresses.get(a.revision, ()), (
                "nothing that the gateway sends requests is stopped"
            )

    @rule(stop=st.integers(0, 2))
    def a_controller_ticks_and_dies(self, stop: int) -> None:
        self.tick(stop)

    def tick(self, stop: int = 2) -> None:
        seen = self.fleet()
        if stop:
            event = next_event(self.state, seen, self.checks, None, self.now)
            if isinstance(event, Halted | Passed | Failed | Healthy | Promoted | Baked):
                assert event.attempt == self.state.attempt
            self.enter(event)
        if stop > 1 and self.gateway:
            operation = reconcile.traffic_plan(machine.actions(self.state), seen)
            self.done += operation is not None
            match operation:
                case reconcile.SetEndpoints(addresses):
                    self.addresses = dict(addresses)
                case reconcile.SetSplit(split):
                    assert {*split.weights, split.mirror, split.fallback} - {""} <= self.addresses.keys(), (
                        "the gateway knows them"
                    )
                    self.split = split
                case reconcile.Finalize():
                    self.split, self.addresses = Split(), {}

    def fleet(self) -> Fleet:
        living = frozenset(h for h in self.reported if h not in self.gone)
        revisions = tuple(a for h in living for a in self.reported[h][1])
        up = {a.host_port for k, a in self.revisions.items() if a.ready and k[0] not in self.gone}
        healthy = {name: frozenset(addresses) & up for name, addresses in self.addresses.items()}
        current = frozenset(h for h in living if self.reported[h][0] == self.state.attempt)
        return Fleet(revisions, living, current, self.gateway, self.split, self.addresses, healthy, {})

    @invariant()
    def traffic_is_on_what_was_shown_healthy(self) -> None:
        assert {*self.split.weights, self.split.mirror, self.split.fallback} - {""} <= self.shown

    @invariant()
    def traffic_is_where_the_ledger_names_an_revision(self) -> None:
        named = {p.revision for p in (self.state.champion, self.state.challenger, self.state.warm) if p}
        assert {*self.split.weights, self.split.fallback} - {""} <= named | {p.revision for p in self.state.draining}

    def teardown(self) -> None:
        """When the faults stop, the fleet comes to rest as the ledger says, and then nothing is planned."""
        self.gateway, self.gone, self.checks = True, set(), PASS
        self.enter(Steered("resume", "go on", self.now))
        for _ in range(60):
            self.now += 20
            self.round()
        self.done = 0
        self.round()
        assert self.done == 0, "a fleet that is right is left alone"
        assert self.state.phase in ("idle", "halted")
        if self.state.champion and self.state.phase == "idle":
            assert self.split == Split({self.state.champion.revision: 100})
            whole = {(h, self.state.champion.revision, gpu) for h in HOSTS for gpu in GPUS[h]}
            assert {(a.host, a.revision, a.gpu) for a in self.revisions.values()} == whole
            assert len(self.revisions) == len(whole)
            assert set(self.addresses[self.state.champion.revision]) == {a.host_port for a in self.revisions.values()}

    def round(self) -> None:
        for host in HOSTS:
            self.a_host_learns(host)
            self.host_ticks(host, 99)
        self.become_ready()
        for host in HOSTS:
            self.host_ticks(host, 99)
        self.tick()


ASimulatedFleet.TestCase.settings = settings(max_examples=300, stateful_step_count=50, deadline=None)
TestAFleetComesToRest = ASimulatedFleet.TestCase
