"""A seeded sample of `make test-chaos`: the whole stack, one process killed at one stage of a release."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from benchmarks import chaos
from tests.stack import Running

pytestmark = pytest.mark.stack
SEED = random.randrange(1 << 16)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with chaos.stage_set(tmp_path_factory.mktemp("chaos") / "home") as found:
        yield found


def test_whatever_is_killed_callers_are_answered_and_the_fleet_ends_in_one_of_two_states(stack: Running) -> None:
    print(f"seed {SEED}")
    for number, (victim, stage) in enumerate(chaos.pairs(3, SEED)):
        result = chaos.one(stack, victim, stage, 40 + number)
        print(result.row())
        assert result.failed == 0 or victim in chaos.SILENT, (SEED, result)
