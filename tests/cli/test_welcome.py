"""The page that `postbacks up` prints when it is ready, and its status line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, generate_latest

from cli.up.stack import STAGES, Endpoints, with_embedded_kafka
from cli.up.throughput import METRICS, describe, read_totals
from cli.up.welcome import SAMPLE_ID, ready_page, stack_settings
from runtime import metrics
from runtime.settings import load_settings

ENDPOINTS = Endpoints("127.0.0.1:8080", Path("/data"), {}, "127.0.0.1:9092", "127.0.0.1:8123")
DEFAULTS = load_settings({})


def test_page_has_url_sample_post_and_queries() -> None:
    default = replace(ENDPOINTS, data=DEFAULTS.data.absolute())
    page = ready_page(default, DEFAULTS, "postbacks")
    assert "\n    http://127.0.0.1:8080/postback\n" in page
    assert "curl http://127.0.0.1:8080/postback -d 'SMSSent=1&MessageID=9a35e913-" in page
    assert f"\n    postbacks message {SAMPLE_ID}\n" in page
    assert '\n    postbacks sql "SELECT status, count() FROM messages GROUP BY status"\n' in page


@pytest.mark.parametrize(
    "endpoints", [ENDPOINTS, replace(ENDPOINTS, kafka=None), replace(ENDPOINTS, clickhouse=None)]
)
def test_page_names_the_folder_of_embedded_engines(endpoints: Endpoints) -> None:
    page = ready_page(endpoints, DEFAULTS, "postbacks")
    assert "All data is in /data; the next start continues with it." in page


def test_page_names_no_folder_for_external_engines() -> None:
    page = ready_page(replace(ENDPOINTS, kafka=None, clickhouse=None), DEFAULTS, "postbacks")
    assert "/data;" not in page


def test_commands_include_a_folder_other_than_the_default() -> None:
    page = ready_page(ENDPOINTS, DEFAULTS, ".venv/bin/postbacks")
    assert "\n    .venv/bin/postbacks --data /data tail\n" in page


def test_stack_settings_name_engines_and_topics() -> None:
    endpoints = replace(ENDPOINTS, kafka="127.0.0.1:1", clickhouse="127.0.0.1:2")
    assert stack_settings(endpoints, with_embedded_kafka(load_settings({}), "127.0.0.1:1")) == {
        "POSTBACKS_KAFKA": "127.0.0.1:1",
        "POSTBACKS_PARTITIONS": "8",
        "POSTBACKS_REPLICATION": "1",
        "POSTBACKS_CLICKHOUSE": "http://default:@127.0.0.1:2/postbacks",
        "POSTBACKS_SUBMISSION_URL": "http://127.0.0.1:8080/submission",
    }


def test_page_shows_no_token() -> None:
    page = ready_page(ENDPOINTS, load_settings({"POSTBACKS_TOKENS": "acme=topsecret"}), "postbacks")
    assert "http://127.0.0.1:8080/postback/TOKEN" in page
    assert "topsecret" not in page


def test_gateway_on_all_addresses_is_shown_on_loopback() -> None:
    assert "http://127.0.0.1:8080/postback" in ready_page(
        replace(ENDPOINTS, listen="0.0.0.0:8080"), DEFAULTS, "x"
    )


def test_stage_shows_its_rate_and_pending_records() -> None:
    before = {"postbacks_streams_merged": 100.0}
    now = {"postbacks_streams_merged": 4_100.0, "postbacks_streams_lag_records": 1_234.0}
    assert describe("streams", before, now, 2.0) == "streams 2,000 postbacks/s (1,234 pending)"


def test_rate_is_zero_after_restart_or_without_answer() -> None:
    busy = {"postbacks_streams_merged": 4_100.0}
    assert describe("streams", busy, {"postbacks_streams_merged": 3.0}, 1.0) == "streams 0 postbacks/s"
    assert describe("streams", {}, busy, 1.0) == "streams 0 postbacks/s"
    assert describe("streams", busy, {}, 1.0) == "streams 0 postbacks/s"


def test_totals_sum_over_labels() -> None:
    registry = CollectorRegistry()
    merged = Counter("merged_total", "", ["topic"], registry=registry)
    merged.labels("x").inc(3)
    merged.labels("y").inc(4)
    Gauge("lag", "", registry=registry).set(5)
    totals = read_totals(generate_latest(registry).decode())
    assert (totals["merged"], totals["lag"]) == (7.0, 5.0)


def test_every_metric_of_the_status_line_exists() -> None:
    assert metrics
    ours = {family.name for family in REGISTRY.collect()}
    assert set(METRICS) == set(STAGES)
    assert {name for stage in METRICS.values() for name in (stage.counter, stage.pending)} <= ours
