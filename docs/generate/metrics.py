"""docs/metrics.md: every metric and every alert, with what it means and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from prometheus_client.metrics import MetricWrapperBase

from runtime import metrics

ROOT = Path(__file__).parent.parent.parent
RULES = ROOT / "deploy" / "prometheus" / "rules" / "postbacks.yml"

HEAD = """# Metrics and alerts

<!-- Written by `make docs` from runtime/metrics.py and deploy/prometheus/rules/postbacks.yml. -->

Each process serves three pages on its ops port (`POSTBACKS_OPS`; it logs the address at its start):

- `/livez` answers 200 as long as the process turns. Restart a process that does not answer it, and no other:
  what only a restart mends, a process ends itself for.
- `/readyz` answers 200 and `ready`, or 503 and a line for each thing that is missing, in words. A gateway
  that is not ready because Kafka is away still takes postbacks, on its disk (202): send them elsewhere only
  if another one is ready.
- `/metrics`, for Prometheus. `postbacks_ready` is what `/readyz` says, as a number.

Labels are bounded: nothing that a stranger can make grow is one. Besides these there are those of the client
library (`process_cpu_seconds_total`, `process_resident_memory_bytes` and so on).

Several processes of one kind are told apart by Prometheus, by their addresses. Those of one gateway
(`POSTBACKS_PROCESSES`) report as one: what is theirs is added up, `/readyz` answers 200 as long as one of
them has all it needs, with a line for whatever another one lacks, and `postbacks_ready` is 0 until nothing
is missing. What the client library says of a process has a label `process` there.
"""
PARTS = {
    "": "Every process",
    "gateway": "The gateway",
    "streams": "Workers of streams",
    "sinks": "Sinks",
}


class Known(NamedTuple):
    """A metric of ours as Prometheus knows it."""

    name: str
    kind: str
    meaning: str
    labels: tuple[str, ...]

    @property
    def part(self) -> str:
        """The package that it belongs to; empty where several set it."""
        part = self.name.split("_")[1]
        return part if part in PARTS else ""

    @property
    def sample_names(self) -> set[str]:
        """What an expression may call it."""
        if self.kind == "histogram":
            return {f"{self.name}_{part}" for part in ("bucket", "sum", "count")}
        return {self.name}


def all_metrics() -> Iterator[Known]:
    """Those in runtime/metrics.py, in its order."""
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            family = next(iter(metric.describe()))
            name = family.name + ("_total" if family.type == "counter" else "")
            yield Known(name, family.type, family.documentation, tuple(metric._labelnames))


def all_alerts() -> list[dict[str, Any]]:
    """The rules as Prometheus reads them."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def page() -> str:
    return "\n".join([HEAD, *_metric_tables(), *_alert_table()])


def _metric_tables() -> Iterator[str]:
    for part, title in PARTS.items():
        yield f"## {title}\n\n| metric | kind | labels | meaning |\n|---|---|---|---|"
        for metric in all_metrics():
            if metric.part == part:
                labels = ", ".join(f"`{label}`" for label in metric.labels)
                yield f"| `{metric.name}` | {metric.kind} | {labels} | {metric.meaning} |"
        yield ""


def _alert_table() -> Iterator[str]:
    yield (
        "## Alerts\n\nThe rules are in `deploy/prometheus/rules/postbacks.yml`, for jobs called `gateway`, "
        "`streams` and `sinks`;\n`tests/docs/alerts.yml` tries each of them. "
        "A *page* is for now, a *ticket* for today.\n"
    )
    yield "| alert | | what to do |\n|---|---|---|"
    for rule in all_alerts():
        do = rule["annotations"]["do"].replace("|", "\\|")
        yield f"| {rule['alert']} | {rule['labels']['severity']} | {do} |"
    yield ""
