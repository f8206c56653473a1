"""When a process counts as stalled."""

from __future__ import annotations

from runtime.watchdog import StallDetector


def test_pending_work_without_progress_is_a_stall() -> None:
    detector = StallDetector()
    assert [detector.observe(second, "marker", pending=True) for second in range(4)] == [0, 1, 2, 3]
    assert detector.observe(4, "another marker", pending=True) == 0


def test_idle_process_never_stalls() -> None:
    detector = StallDetector()
    assert not any(detector.observe(second, "marker", pending=False) for second in range(1000))


def test_suspension_is_not_a_stall() -> None:
    detector = StallDetector()
    detector.observe(0, "marker", pending=True)
    assert detector.observe(3600, "marker", pending=True) == StallDetector.MAX_STEP
