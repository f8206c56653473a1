"""CI runs each test once, and reports a failure with the logs of its processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.process import ROOT

FAILING = """
def test_of_a_failing_process(tmp_path):
    (tmp_path / "worker.log").write_text("the worker's last words")
    assert not "seed 7"

def test_of_a_passing_process(tmp_path):
    (tmp_path / "worker.log").write_text("unremarkable")
"""


def test_failed_run_is_not_repeated(tmp_path: Path) -> None:
    make = tmp_path / "make"
    make.write_text('#!/bin/sh\necho "$@" >> "$(dirname "$0")/runs"\nexit 2\n')
    make.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run([ROOT / ".ci" / "run"], env=os.environ | {"PATH": path}, check=False)
    assert done.returncode == 2
    assert (tmp_path / "runs").read_text() == "test\n"


def test_failure_under_xdist_shows_seed_and_logs(tmp_path: Path) -> None:
    (tmp_path / "test_failing.py").write_text(FAILING)
    options = ("-p", "tests.conftest", "-n", "1", "--rootdir", tmp_path, tmp_path / "test_failing.py")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "1 failed, 1 passed" in done.stdout
    assert "seed 7" in done.stdout
    assert "Last lines of worker.log" in done.stdout
    assert "the worker's last words\n" in done.stdout
    assert "unremarkable" not in done.stdout
