"""Generates docs/metrics.md: every metric and its meaning, every alert and what to do about it."""

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

Each process serves three endpoints on its ops port (`POSTBACKS_OPS`; the address is logged at startup):

- `/livez` answers 200 while the event loop runs. Restart a process that does not answer it, and only then: a
  process that needs a restart for any other reason exits by itself.
- `/readyz` answers 200 and `ready`, or 503 and one line per missing dependency with the reason. A gateway
  that is not ready because Kafka is unavailable still accepts postbacks and spools them to disk (202): route
  around it only if another one is ready.
- `/metrics` is for Prometheus. `postbacks_ready` is the result of `/readyz` as a number.

Label values are bounded: nothing that a stranger can multiply is a label. The client library adds its own
metrics (`process_cpu_seconds_total`, `process_resident_memory_bytes` and so on).

Prometheus tells replicas apart by their addresses. The processes of one gateway (`POSTBACKS_PROCESSES`)
report as one: counters add up, `/readyz` answers 200 while at least one process is ready, with a line for
each one that is not, and `postbacks_ready` is 0 until all are. The client library's metrics have a label
`process`.
"""
PARTS = {
    "": "Every process",
    "gateway": "The gateway",
    "streams": "Streams workers",
    "sinks": "Sinks",
    "respond": "Responders",
}


class MetricDoc(NamedTuple):
    """A metric of ours as Prometheus names it."""

    name: str
    kind: str
    meaning: str
    labels: tuple[str, ...]

    @property
    def part(self) -> str:
        """The package that sets it; empty if several do."""
        part = self.name.split("_")[1]
        return part if part in PARTS else ""

    @property
    def sample_names(self) -> set[str]:
        """The names of its samples, which expressions may use."""
        if self.kind == "histogram":
            return {f"{self.name}_{part}" for part in ("bucket", "sum", "count")}
        return {self.name}


def all_metrics() -> Iterator[MetricDoc]:
    """The metrics of runtime/metrics.py, in its order."""
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            family = next(iter(metric.describe()))
            name = family.name + ("_total" if family.type == "counter" else "")
            yield MetricDoc(name, family.type, family.documentation, tuple(metric._labelnames))


def all_alerts() -> list[dict[str, Any]]:
    """The alerting rules as Prometheus reads them."""
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
        "## Alerts\n\nThe rules are in `deploy/prometheus/rules/postbacks.yml`, for jobs named `gateway`, "
        "`streams`, `sinks` and\n`responder`; `tests/docs/alerts.yml` tests each of them. "
        "Handle a *page* now, a *ticket* today.\n"
    )
    yield "| alert | | what to do |\n|---|---|---|"
    for rule in all_alerts():
        action = rule["annotations"]["do"].replace("|", "\\|")
        yield f"| {rule['alert']} | {rule['labels']['severity']} | {action} |"
    yield ""
