"""A short chaos run beside the other tests, which use all cores; `make chaos` runs longer ones.

Its seed changes each day, and is part of every failure.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.chaos.faults import exclusion_group, plan_faults
from tests.chaos.run import SMALL, RunOptions, run_chaos
from tests.support.engines import APACHE, CHDB, Engines

TARGETS = ["gateway-1", "gateway-2", "streams-1", "kafka-1", "kafka-2", "kafka-3", "disk", "changelogs"]


@pytest.mark.engine
async def test_nothing_is_lost_duplicated_or_wrong_under_faults(tmp_path: Path, engines: Engines) -> None:
    engines.used |= {APACHE, CHDB}
    seed = datetime.now(UTC).toordinal()
    command = f'make chaos ARGS="--small --seed {seed}"'
    options = RunOptions(seed, postbacks=2_000, rate=400, faults=3, brokers=1, pipeline=SMALL)
    outcome = await run_chaos(options, tmp_path)
    assert outcome.faults, command
    assert outcome.postbacks > 2_000, command
    assert not outcome.never_acknowledged, command
    assert not outcome.result.lost, command
    assert not outcome.result.duplicated, command
    assert not outcome.result.wrong, command
    assert outcome.result.contacts > 50, command
    assert not outcome.result.contact_findings, command
    assert outcome.reconciled == 0, command


def test_schedule_is_determined_by_its_seed() -> None:
    faults = plan_faults(7, 3000, 400, TARGETS, session_timeout=6)
    assert faults == plan_faults(7, 3000, 400, TARGETS, session_timeout=6)
    assert {fault.target for fault in faults} == set(TARGETS)
    for earlier in faults:
        for later in faults:
            if earlier < later and exclusion_group(earlier.target) == exclusion_group(later.target):
                assert earlier.until <= later.at
