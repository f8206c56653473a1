"""A short run of `make chaos ARGS="--kill-stack 20"`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.chaos.scenario import silent_stage
from tests.chaos.stack_kills import kill_stack


@pytest.mark.engine
async def test_killed_stack_continues_with_everything_accepted(tmp_path: Path) -> None:
    seed = datetime.now(UTC).toordinal()
    with silent_stage(tmp_path) as stage:
        await kill_stack(stage, seed, rounds=1, rate=100)
    assert not stage.failures, f'make chaos ARGS="--kill-stack 1 --seed {seed}"'
