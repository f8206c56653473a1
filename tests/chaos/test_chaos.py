"""A short chaos run beside a process that uses a whole core: what `make chaos` does for longer.

Its seed is new each day, and stands in every failure.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.chaos.faults import group_of, plan_faults
from tests.chaos.load import burning
from tests.chaos.run import Wanted, run_chaos
from tests.support.engines import APACHE, CHDB, Engines

TARGETS = ["gateway-1", "gateway-2", "streams-1", "kafka-1", "kafka-2", "kafka-3", "disk"]


@pytest.mark.timeout(600)
async def test_nothing_is_lost_doubled_or_wrong_whatever_is_killed(tmp_path: Path, engines: Engines) -> None:
    engines.used |= {APACHE, CHDB}
    seed = datetime.now(UTC).toordinal()
    again = f'make chaos ARGS="--seed {seed} --postbacks 24000 --rate 400 --faults 12 --burn 1"'
    with burning(1):
        outcome = await run_chaos(Wanted(seed, postbacks=24_000, rate=400, faults=12, brokers=1), tmp_path)
    assert len(outcome.faults) >= 8, again
    assert outcome.postbacks > 20_000, again
    assert not outcome.never_acknowledged, again
    assert not outcome.verdict.lost, again
    assert not outcome.verdict.doubled, again
    assert not outcome.verdict.wrong, again
    assert outcome.reconciled == 0, again


def test_a_schedule_is_its_seed_and_spares_a_majority_of_the_brokers() -> None:
    faults = plan_faults(7, 3000, 400, TARGETS, session_timeout=6)
    assert faults == plan_faults(7, 3000, 400, TARGETS, session_timeout=6)
    assert {fault.target for fault in faults} == set(TARGETS)
    for earlier in faults:
        for later in faults:
            if earlier < later and group_of(earlier.target) == group_of(later.target):
                assert earlier.until <= later.at
