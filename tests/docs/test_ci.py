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

SHARING = """
import pytest

@pytest.fixture(scope="module")
def stack():
    with open(__file__ + ".set_up", "a") as file:
        file.write("once\\n")

@pytest.mark.parametrize("number", range(8))
def test_uses_the_stack(stack, number):
    pass
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
    output = run_pytest(tmp_path, FAILING, "-n", "1")
    assert "1 failed, 1 passed" in output
    assert "seed 7" in output
    assert "Last lines of worker.log" in output
    assert "the worker's last words\n" in output
    assert "unremarkable" not in output


def test_modules_fixture_is_set_up_once(tmp_path: Path) -> None:
    assert "8 passed" in run_pytest(tmp_path, SHARING, "-n", "2", "--dist", "loadgroup")
    assert (tmp_path / "test_it.py.set_up").read_text() == "once\n"


def run_pytest(folder: Path, tests: str, *options: str) -> str:
    """Run these tests with the fixtures and hooks of this project; return the output."""
    (folder / "test_it.py").write_text(tests)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.conftest", *options, f"--rootdir={folder}", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout
