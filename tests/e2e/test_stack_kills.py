"""A short run of `make chaos ARGS="--kill-stack 20"`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from tests.chaos.scenario import Stage
from tests.chaos.stack_kills import kill_stack


@pytest.mark.timeout(600)
async def test_killed_stack_continues_with_everything_accepted(tmp_path: Path) -> None:
    seed = datetime.now(UTC).toordinal()
    stage = Stage(tmp_path, Console())
    await kill_stack(stage, seed, rounds=3)
    stage.close()
    assert not stage.failures, f'make chaos ARGS="--kill-stack 3 --seed {seed}"'
