"""The release machine and reconcile, over thousands of random histories without a process."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from ratchet.words import Arm, Package
from releases import machine, reconcile
from releases.machine import Drained, Event, Failed, Healthy, Promoted, Recorded, Requested, Route, State, step


def package(version: str) -> Package:
    return Package("r", version, f"key{version}", f"r:v{version}", f"digest{version}", f"path/{version}")


versions = st.sampled_from("1234")
times = st.floats(0, 1000)


def requested(version: str, kind: machine.Kind = "release", by_hand: bool = False, at: float = 0.0) -> Requested:
    return Requested(package(version), kind, "because", by_hand, 60, 10, at)


events: st.SearchStrategy[Event] = st.one_of(
    st.builds(requested, versions, st.sampled_from(["release", "rollback"]), st.booleans(), times),
    st.builds(Healthy, versions, st.just({}), times),
    st.builds(Failed, versions, st.just("broken"), times),
    st.builds(Promoted, versions, times),
    st.builds(Drained, versions, times),
    st.builds(Recorded, st.none() | versions, st.none() | versions, st.integers(0, 3), times),
)


@given(st.lists(events, max_size=40))
@settings(max_examples=2000, deadline=None)
def test_no_history_leaves_traffic_on_an_arm_that_was_not_shown_healthy(history: list[Event]) -> None:
    state = State()
    shown: set[str] = set()
    for event in history:
        if isinstance(event, Healthy) and state.challenger and event.version == state.challenger.version:
            shown.add(event.version)
        state, actions = step(state, event)
        routes = [a for a in actions if isinstance(a, Route)]
        assert len(routes) <= 1, "all traffic goes to exactly one arm"
        assert {r.version for r in routes} <= shown | {None}
        serving = {a.package.version for a in actions if isinstance(a, machine.Serve)}
        assert {r.version for r in routes} <= serving | {None}, "what has traffic is kept running"


@given(st.lists(events, max_size=40), events)
@settings(max_examples=1000, deadline=None)
def test_an_event_twice_does_no_more_than_once(history: list[Event], event: Event) -> None:
    once = machine.fold([*history, event])
    twice = machine.fold([*history, event, event])
    if not isinstance(event, Recorded | Requested):
        assert once == twice
    assert once.champion == twice.champion
    assert once.former == twice.former


@given(st.lists(events, max_size=40))
@settings(max_examples=1000, deadline=None)
def test_every_history_ends_when_the_events_stop(history: list[Event]) -> None:
    """With nothing but the clock and an empty fleet, a release ends in champion or challenger."""
    state = machine.fold(history)
    for _ in range(5):
        event = machine.observe(state, (), {}, now=1e9)
        if event is None:
            break
        state = step(state, event)[0]
    assert state.phase == "idle"


@given(st.lists(events, max_size=30))
@settings(max_examples=500, deadline=None)
def test_events_come_back_from_the_ledger_as_they_went(history: list[Event]) -> None:
    for event in history:
        kind, body = machine.to_body(event)
        assert machine.from_body(kind, body, event.at) == event


def promoted(state: State, version: str, kind: machine.Kind = "release", by_hand: bool = False) -> State:
    for event in (requested(version, kind, by_hand), Healthy(version, {}), Promoted(version)):
        state = step(state, event)[0]
    if state.outgoing:
        state = step(state, Drained(state.outgoing.version))[0]
    return state


def test_a_rollback_goes_to_the_newest_champion_never_rolled_back_from() -> None:
    state = promoted(promoted(promoted(State(), "1"), "2"), "3")
    target = machine.rollback_target(state)
    assert target == package("2")
    state = promoted(state, "2", "rollback", True)
    assert state.rolled_back == {"3"}
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


def test_a_second_release_is_refused_while_one_is_under_way() -> None:
    state = step(State(), requested("1"))[0]
    refused = machine.refusal(state, requested("2"))
    assert refused is not None
    assert "under way" in refused.what


def test_a_failed_challenger_leaves_the_champion() -> None:
    state = promoted(State(), "1")
    for stop in (1, 2):
        trial = state
        for event in [requested("2"), Healthy("2", {})][:stop]:
            trial = step(trial, event)[0]
        trial, actions = step(trial, Failed("2", "it crashed"))
        assert trial.champion == package("1")
        assert Route("1") in actions
        assert trial.outcomes[-1] == machine.Outcome("2", "failed", "it crashed")


def test_a_crash_of_the_champion_is_no_reason_to_release() -> None:
    state = promoted(promoted(State(), "1"), "2")
    assert step(state, Failed("2", "it crashed"))[0] == state


def test_the_aliases_are_asked_for_until_mlflow_takes_them() -> None:
    state = promoted(promoted(State(), "1"), "2")
    (record,) = [a for a in machine.wants(state) if isinstance(a, machine.Record)]
    assert (record.champion, record.previous) == ("2", "1")
    state = step(state, Recorded("2", "1", len(record.outcomes)))[0]
    assert not [a for a in machine.wants(state) if isinstance(a, machine.Record)]


class Fleet(RuleBasedStateMachine):
    """A simulated host and gateway under the real machine and the real plan; any process may die at any time."""

    requests = Bundle("requests")

    @initialize()
    def begin(self) -> None:
        self.state = State()
        self.arms: dict[str, Arm] = {}
        self.routed: dict[str, int] = {}
        self.places: dict[str, tuple[reconcile.Place, ...]] = {}
        self.now = 0.0
        self.port = 3100
        self.shown: set[str] = set()
        self.gateway = True

    def enter(self, event: Event | None) -> None:
        if event:
            if isinstance(event, Healthy):
                self.shown.add(event.version)
            self.state = step(self.state, event)[0]

    @rule(version=versions, kind=st.sampled_from(["release", "rollback"]))
    def somebody_asks(self, version: str, kind: machine.Kind) -> None:
        if kind == "rollback":
            target = machine.rollback_target(self.state)
            if target is None:
                return
            version = target.version
        self.enter(requested(version, kind, True, self.now))

    @rule()
    def a_flow_serves(self) -> None:
        challenger = self.state.challenger
        if challenger and self.state.phase == "warming" and self.state.kind == "release":
            self.start(challenger)
            self.become_ready()
            self.enter(Healthy(challenger.version, {}, self.now))

    @rule(version=versions)
    def a_bento_dies(self, version: str) -> None:
        if version in self.arms:
            self.arms[version] = replace(self.arms[version], state="failed", ready=False)

    @rule(version=versions)
    def a_supervisor_dies(self, version: str) -> None:
        if version in self.arms:
            self.arms[version] = replace(self.arms[version], state="orphan")

    @rule(alive=st.booleans())
    def the_gateway_dies_or_lives(self, alive: bool) -> None:
        self.gateway = alive

    @rule(seconds=st.floats(0.5, 100))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    def start(self, package: Package) -> None:
        self.port += 1
        self.arms[package.version] = Arm(
            "r", package.version, package.digest, package.tag, "127.0.0.1", self.port, "starting", False
        )

    @rule()
    def become_ready(self) -> None:
        self.arms = {
            v: replace(a, state="running", ready=True) if a.state == "starting" else a for v, a in self.arms.items()
        }

    @rule(stop=st.integers(0, 6))
    def a_controller_ticks_and_dies(self, stop: int) -> None:
        self.tick(stop)

    def tick(self, stop: int) -> int:
        """One look at everything; killed after `stop` operations. Returns how many it did."""
        actual = self.actual()
        self.enter(machine.observe(self.state, actual.arms, actual.routed, self.now))
        done = 0
        for operation in reconcile.plan(machine.wants(self.state), actual, self.now)[:stop]:
            done += not isinstance(operation, reconcile.Point)
            match operation:
                case reconcile.Start(wanted):
                    self.start(wanted)
                case reconcile.Verify(wanted, _):
                    self.enter(Healthy(wanted.version, {}, self.now))
                case reconcile.Turn(version, places):
                    self.routed, self.places = {version: 100}, dict(places)
                case reconcile.Close():
                    self.routed, self.places = {}, {}
                case reconcile.Stop(version):
                    assert not self.routed.get(version), "nothing with traffic is stopped"
                    self.arms.pop(version, None)
                case reconcile.EndOrphan(arm):
                    served = [a for a in self.arms.values() if a.version == arm.version and a.state != "orphan"]
                    assert served or not self.routed.get(arm.version), "the only arm with traffic is not ended"
                    self.arms.pop(arm.version, None)
                case reconcile.Write(champion, previous, outcomes):
                    self.enter(Recorded(champion, previous, len(outcomes)))
        if stop > 90 and self.gateway:
            known = {p.version for p in (self.state.champion, self.state.challenger) if p}
            assert set(self.routed) <= known, "after a whole tick traffic is where the ledger says"
        return done

    def actual(self) -> reconcile.Actual:
        return reconcile.Actual(tuple(self.arms.values()), self.gateway, self.routed, self.places, {})

    @invariant()
    def traffic_is_on_what_was_shown_healthy(self) -> None:
        assert set(self.routed) <= self.shown

    def teardown(self) -> None:
        """When the faults stop, the fleet comes to rest as the ledger says, and then nothing is planned."""
        self.gateway = True
        for _ in range(40):
            self.now += 100
            self.tick(99)
            self.become_ready()
        assert self.tick(99) == 0, "a fleet that is right is left alone"
        assert self.state.phase == "idle"
        if self.state.champion:
            assert self.routed == {self.state.champion.version: 100}
            assert set(self.arms) == {self.state.champion.version}


Fleet.TestCase.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
TestAFleetComesToRest = Fleet.TestCase
