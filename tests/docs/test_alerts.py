"""Alerts fire when they should and not otherwise, and ask only for metrics that there are.

What each is for stands in tests/docs/alerts.yml, in the language of `promtool test rules`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from docs.generate import dashboard
from docs.generate.metrics import RULES, all_alerts, all_metrics
from tests.support.engines import Engines
from tests.support.process import ROOT

PROMTOOL = "Prometheus: promtool"
STORIES = ROOT / "tests" / "docs" / "alerts.yml"
SAMPLES = {sample for metric in all_metrics() for sample in metric.sample_names}
ALERTS = {rule["alert"]: rule for rule in all_alerts()}


@pytest.fixture
def promtool(engines: Engines) -> str:
    tool = shutil.which("promtool")
    if not tool:
        engines.skip(PROMTOOL, "promtool not found (Debian's package prometheus)")
    engines.used.add(PROMTOOL)
    assert tool
    return tool


def run(*command: str | Path) -> None:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_story_of_an_alert_comes_true(promtool: str) -> None:
    run(promtool, "test", "rules", STORIES)


def test_prometheus_takes_the_configuration(promtool: str) -> None:
    run(promtool, "check", "config", RULES.parent.parent / "prometheus.yml")


def test_prometheus_understands_all_that_the_dashboard_asks(promtool: str, tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "5m")}
        for number, expression in enumerate(dashboard.expressions())
    ]
    file = tmp_path / "dashboard.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    run(promtool, "check", "rules", file)


@pytest.mark.parametrize(
    "expression", [*dashboard.expressions(), *(str(rule["expr"]) for rule in ALERTS.values())]
)
def test_only_metrics_that_there_are_are_asked_for(expression: str) -> None:
    assert set(re.findall(r"\bpostbacks_\w+", expression)) <= SAMPLES


def test_the_dashboard_shows_every_metric() -> None:
    shown = {name for text in dashboard.expressions() for name in re.findall(r"\bpostbacks_\w+", text)}
    assert [metric.name for metric in all_metrics() if not metric.sample_names & shown] == []


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_says_what_to_do_and_has_a_story(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"]
    assert len(rule["annotations"]["do"]) > 40
    assert alert in STORIES.read_text()
