"""Exit statuses of a process."""

from __future__ import annotations

import pytest

from runtime.errors import InvalidSetting, KafkaUnavailable, StartupError, TopicMismatch
from runtime.process import FAILED, REFUSED, exit_status


@pytest.mark.parametrize(
    ("error", "status"), [(InvalidSetting, REFUSED), (TopicMismatch, REFUSED), (KafkaUnavailable, FAILED)]
)
def test_process_that_may_be_restarted_is_not_refused(error: type[StartupError], status: int) -> None:
    assert exit_status(error("why")) == status
