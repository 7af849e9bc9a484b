"""Whose word about `@champion` stands: the ledger's, or that of a hand that moved it since."""

from hypothesis import given
from hypothesis import strategies as st

from releases.alias_sync import moved_since
from releases.state import Outcome, Record

VERSIONS = st.sampled_from("123456")


def test_a_hand_that_moved_the_alias_before_the_last_release_was_told_is_not_overwritten() -> None:
    back_to_1 = Record("1", None, (Outcome("1", "promoted", ""), Outcome("2", "rolled back", "")))
    assert moved_since("3", back_to_1, "2")


def test_a_wish_that_failed_is_answered_once_and_the_alias_goes_back() -> None:
    refused = Record("1", None, (Outcome("2", "failed", "golden input 0"),))
    assert not moved_since("2", refused, "1")


@given(champion=VERSIONS, written=VERSIONS | st.none(), there=VERSIONS | st.none(), decided=st.lists(VERSIONS))
def test_only_a_version_that_nobody_here_named_is_taken_for_a_hands(
    champion: str, written: str | None, there: str | None, decided: list[str]
) -> None:
    record = Record(champion, None, tuple(Outcome(v, "failed", "") for v in decided))
    ours = {written, champion, *decided}
    assert moved_since(there, record, written) == (written is not None and there is not None and there not in ours)


def test_with_no_alias_written_yet_the_ledger_writes() -> None:
    assert not moved_since("7", Record("1", None, ()), None)
