"""What a person changed in Prefect stays, and what the project changed is merged by name."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flows.deploy import assumed_base, changed_fields, merge, next_base, settle

schedules = st.lists(
    st.fixed_dictionaries({"slug": st.sampled_from("abc"), "cron": st.sampled_from("12"), "active": st.booleans()}),
    max_size=3,
    unique_by=lambda each: each["slug"],
)
deployments = st.fixed_dictionaries({
    "parameters": st.dictionaries(st.just("recipe"), st.sampled_from("xy")),
    "tags": st.sampled_from([["loop"], ["loop", "mine"]]), "description": st.sampled_from(["one", "two"]),
    "paused": st.booleans(), "concurrency_limit": st.sampled_from([None, {"limit": 1}]), "schedules": schedules,
    "work_pool": st.builds(dict, name=st.sampled_from(["cpu", "mine"])),
})  # fmt: skip


def by_slug(deployment: dict[str, Any]) -> dict[str, Any]:
    return {each["slug"]: each for each in deployment["schedules"]}


@given(deployments, deployments)
def test_what_nobody_touched_follows_the_project(old: dict[str, Any], new: dict[str, Any]) -> None:
    merged = merge(new, old, old)
    assert by_slug(merged) == by_slug(new)
    assert {**merged, "schedules": []} == {**new, "schedules": []}


@given(deployments, deployments, deployments)
def test_every_field_that_a_person_changed_stays_theirs(
    old: dict[str, Any], new: dict[str, Any], current: dict[str, Any]
) -> None:
    merged = merge(new, old, current)
    for field in changed_fields(old, current):
        if field != "schedules":
            assert merged[field] == current[field]
    for slug, schedule in by_slug(current).items():
        if by_slug(old).get(slug) != schedule:
            assert by_slug(merged)[slug] == schedule, "changed, or their own"
    for slug in by_slug(old).keys() - by_slug(current).keys():
        assert slug not in by_slug(merged), "deleted"


@given(deployments, deployments, deployments, deployments)
def test_it_stays_theirs_however_often_the_project_changes(
    old: dict[str, Any], new: dict[str, Any], newer: dict[str, Any], current: dict[str, Any]
) -> None:
    once = merge(new, old, current)
    twice = merge(newer, next_base(old, current, once), once)
    for field in set(changed_fields(old, current)) - {"schedules"}:
        assert twice[field] == current[field]
    for slug, schedule in by_slug(current).items():
        if by_slug(old).get(slug) != schedule:
            assert by_slug(twice)[slug] == schedule
    for slug in by_slug(old).keys() - by_slug(current).keys():
        assert slug not in by_slug(twice)


@given(deployments, deployments)
def test_a_home_without_a_base_keeps_its_schedules_and_its_pause(new: dict[str, Any], current: dict[str, Any]) -> None:
    assumed = assumed_base(new, current)
    merged = merge(new, assumed, current)
    assert by_slug(merged) == by_slug(new) | by_slug(current)
    assert merged["paused"] == (current["paused"] or new["paused"])
    again = merge(new, next_base(assumed, current, merged), merged)
    assert by_slug(again) == by_slug(merged)


@given(deployments, deployments, deployments, st.booleans())
def test_an_up_that_was_killed_takes_nothing_for_a_person_s_change_that_it_deployed_itself(
    old: dict[str, Any], new: dict[str, Any], current: dict[str, Any], applied: bool
) -> None:
    record = {"flows": "", "deployments": {}, "described": {"a": old}, "unsettled": {"a": current, "b": None}}
    present = {"a": merge(new, old, current), "b": new} if applied else {"a": current}
    described = settle(record, present)["described"]
    assert changed_fields(described["a"], present["a"]) == changed_fields(old, current)
    assert described.get("b") == (new if applied else None)
