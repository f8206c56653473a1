"""Parts of the chaos runs: competing load, stalls, command line, logs of a failure."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from click.testing import CliRunner

from tests.chaos.__main__ import main
from tests.chaos.duration import Duration
from tests.chaos.load import burn_cpu
from tests.chaos.observer import Lag
from tests.chaos.progress import LongestStall
from tests.support.logs import LINES, MAX_LOGS, log_tails
from tests.support.process import ROOT

TP = TopicPartition("postbacks.sent", 0)
ORPHANED = """
import os
from tests.chaos.load import burn_cpu
with burn_cpu(1) as (pid,):
    print(pid, flush=True)
    os._exit(9)
"""


def lag(committed: int, end: int) -> Lag:
    return Lag({TP: committed}, {TP: end})


def test_burners_are_killed_at_the_end_of_the_block() -> None:
    with burn_cpu(2) as pids:
        assert [os.getsid(pid) for pid in pids] == pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_burner_exits_when_its_parent_is_killed() -> None:
    done = subprocess.run([sys.executable, "-c", ORPHANED], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 9
    with suppress(ProcessLookupError):  # it may have exited before pidfd_open
        burner = os.pidfd_open(int(done.stdout))
        ended, _, _ = select.select([burner], [], [], 30)
        os.close(burner)
        assert ended


def test_stall_lasts_from_lag_to_the_next_commit() -> None:
    stall = LongestStall()
    for now, (committed, end) in enumerate([(0, 0), (0, 5), (0, 6), (0, 7), (3, 7), (3, 7), (7, 7), (7, 7)]):
        stall.sample(now, lag(committed, end))
    assert stall.seconds == 2


def test_outage_neither_counts_nor_ends_a_stall() -> None:
    stall = LongestStall()
    for now, sample in [(0, lag(0, 5)), (1, lag(0, 5)), (2, None), (60, lag(0, 5)), (61, lag(0, 5))]:
        stall.sample(now, sample)
    assert stall.seconds == 2


def test_log_tails_omit_segments_and_older_lines(tmp_path: Path) -> None:
    (tmp_path / "kafka" / "data").mkdir(parents=True)
    (tmp_path / "kafka" / "data" / "00000000000000000000.log").write_bytes(b"\0\1")
    (tmp_path / "kafka" / "server.log").write_text("".join(f"line {n} {'x' * 500}\n" for n in range(1_000)))
    (tmp_path / "streams-1.log").write_bytes(b"\xff broken\n")
    tails = dict(log_tails(tmp_path))
    assert tails.keys() == {"kafka/server.log", "streams-1.log"}
    lines = tails["kafka/server.log"].splitlines()
    assert len(lines) == LINES
    assert lines[-1].startswith("line 999 ")
    assert max(map(len, lines)) < 310


def test_log_tails_are_bounded(tmp_path: Path) -> None:
    for number in range(MAX_LOGS + 10):
        (tmp_path / f"worker-{number}.log").write_text("one line\n")
    assert len(list(log_tails(tmp_path))) == MAX_LOGS


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1_800), ("2h", 7_200), ("0.5h", 1_800)])
def test_duration_is_a_number_with_a_unit(text: str, seconds: float) -> None:
    assert Duration()(text) == seconds


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--soak", "1h", "--joins", "3"], "--soak and --joins exclude each other"),
        (["--lost-brokers", "--unwritable", "10m"], "--lost-brokers and --unwritable exclude each other"),
        (["--minutes", "1"], "--minutes is for --lost-brokers"),
        (["--kills", "3"], "--kills is for --send and --respond"),
        (["--freezes", "3"], "--freezes is for --respond"),
        (["--soak", "2 hours"], "is not a duration such as 90s, 30m or 2h"),
    ],
)
def test_invalid_options_are_refused(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert message in result.output
