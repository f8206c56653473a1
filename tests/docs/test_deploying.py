"""Files for deployment: their settings exist, and each does its part for every process."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.app import PATH, SUBMISSION_PATH
from gateway.contacts.endpoint import CONTACT_PATH
from runtime.settings import FILE, PREFIX, Settings
from tests.support.engines import Engines
from tests.support.process import ROOT

UNITS = [
    "postbacks-gateway@8080.service",
    "postbacks-streams@1.service",
    "postbacks-sinks@1.service",
    "postbacks-responder@1.service",
]
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


def compose_services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return found


def test_prometheus_scrapes_every_process_of_the_compose_file() -> None:
    configuration = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
    hosts = {job["job_name"]: job["dns_sd_configs"][0]["names"][0] for job in configuration["scrape_configs"]}
    probed = {
        name
        for name, service in compose_services().items()
        if "probe" in service.get("healthcheck", {}).get("test", ())
    }
    assert hosts == {name: name for name in probed}


def test_responder_of_the_compose_file_is_off_by_default() -> None:
    responder = compose_services()["responder"]
    assert responder["profiles"] == ["respond"]
    assert responder["environment"]["POSTBACKS_RESPOND"] == "${RESPOND:-dry-run}"


def test_responder_posts_submissions_with_its_accounts_token(tmp_path: Path) -> None:
    (command,) = compose_services()["responder"]["command"]
    program = tmp_path / "postbacks"
    program.write_text(
        "#!/bin/sh\n"
        '[ "$1" = token ] && echo "$4/postback/token-of-$2" || echo "$*: $POSTBACKS_SUBMISSION_URL"\n'
    )
    program.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "ACCOUNT": "acme"}
    done = subprocess.run(
        ["sh", "-c", command.replace("$$", "$")], env=environment, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == (
        "respond run: http://gateway:8080/submission/token-of-acme\n",
        "",
    )


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
