"""Files for deployment: their settings exist, proxies forward both endpoints, systemd accepts the units."""

from __future__ import annotations

import re
import shutil
import subprocess
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from gateway.app import PATH, SUBMISSION_PATH
from gateway.contacts.endpoint import CONTACT_PATH
from runtime.settings import FILE, PREFIX, Settings
from tests.support.engines import Engines
from tests.support.process import ROOT

UNITS = ["postbacks-gateway@8080.service", "postbacks-streams@1.service", "postbacks-sinks@1.service"]
PROXIES = ROOT / "deploy" / "proxy"
FILES = [
    ROOT / "Dockerfile",
    ROOT / "docker-compose.yml",
    ROOT / "docs" / "deploying.md",
    *(file for file in sorted((ROOT / "deploy").rglob("*")) if file.suffix not in (".json", ".pyc")),
]


@pytest.mark.parametrize("file", [file for file in FILES if file.is_file()], ids=lambda file: file.name)
def test_mentioned_settings_exist(file: Path) -> None:
    mentioned = set(re.findall(rf"{PREFIX}[A-Z_]*[A-Z]", file.read_text()))
    assert mentioned <= {PREFIX + field.upper() for field in Settings.model_fields} | {FILE}


@pytest.mark.parametrize("endpoint", [PATH, SUBMISSION_PATH])
def test_proxies_forward_each_endpoint_with_a_token(endpoint: str) -> None:
    (location,) = re.findall(r"location ~ (\S+) {", (PROXIES / "nginx.conf").read_text())
    (matcher,) = re.findall(r"@gateway path (.+)", (PROXIES / "Caddyfile").read_text())
    for path, forwarded in (
        (f"{endpoint}/a-token", True),
        (endpoint, False),
        (f"{endpoint}s/a-token", False),
        (f"{CONTACT_PATH}7575550100", False),
    ):
        assert bool(re.search(location, path)) is forwarded
        assert any(fnmatchcase(path, pattern) for pattern in matcher.split()) is forwarded


def test_systemd_accepts_the_units(engines: Engines, tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        engines.skip("systemd-analyze", "not found")
    installed = tmp_path / "etc/systemd/system"
    shutil.copytree(ROOT / "deploy" / "systemd", installed)
    shutil.copytree("/usr/lib/systemd/system", tmp_path / "usr/lib/systemd/system", symlinks=True)
    for program in ("opt/postbacks/bin/postbacks", "bin/kill"):
        file = tmp_path / program
        file.parent.mkdir(parents=True)
        file.write_text("#!/bin/sh\n")
        file.chmod(0o755)
    done = subprocess.run(
        ["systemd-analyze", "verify", f"--root={tmp_path}", "--recursive-errors=no", *UNITS],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
