"""Alerts fire when they should and only then, and alerts and dashboard query existing metrics only.

The scenarios are in tests/docs/alerts.yml, in the language of `promtool test rules`.
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
SCENARIOS = ROOT / "tests" / "docs" / "alerts.yml"
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


def test_every_alert_scenario_holds(promtool: str) -> None:
    run(promtool, "test", "rules", SCENARIOS)


def test_prometheus_accepts_the_configuration(promtool: str) -> None:
    run(promtool, "check", "config", RULES.parent.parent / "prometheus.yml")


def test_dashboard_queries_are_valid_promql(promtool: str, tmp_path: Path) -> None:
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
def test_queries_use_existing_metrics_only(expression: str) -> None:
    assert set(re.findall(r"\bpostbacks_\w+", expression)) <= SAMPLES


def test_dashboard_shows_every_metric() -> None:
    queried = {name for text in dashboard.expressions() for name in re.findall(r"\bpostbacks_\w+", text)}
    assert [metric.name for metric in all_metrics() if not metric.sample_names & queried] == []


@pytest.mark.parametrize("alert", ALERTS)
def test_alert_has_instructions_and_a_scenario(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"]
    assert len(rule["annotations"]["do"]) > 40
    assert alert in SCENARIOS.read_text()
