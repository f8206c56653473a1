"""What `postbacks up` tells a newcomer when it is ready, and then from second to second."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, generate_latest

from cli.up.stack import STAGES, Endpoints, with_embedded_kafka
from cli.up.throughput import FLOWS, describe, read_totals
from cli.up.welcome import SAMPLE_ID, ready_page, stack_settings
from runtime import metrics
from runtime.settings import load_settings

PLACES = Endpoints("127.0.0.1:8080", Path("/data"), {}, "127.0.0.1:9092", "127.0.0.1:8123")
DEFAULTS = load_settings({})


def test_it_names_the_url_a_post_to_try_and_how_to_look_at_it() -> None:
    usual = replace(PLACES, data=DEFAULTS.data.absolute())
    page = ready_page(usual, DEFAULTS, "postbacks")
    assert "\n    http://127.0.0.1:8080/postback\n" in page
    assert "curl http://127.0.0.1:8080/postback -d 'SMSSent=1&MessageID=9a35e913-" in page
    assert f"\n    postbacks message {SAMPLE_ID}\n" in page
    assert '\n    postbacks sql "SELECT status, count() FROM messages GROUP BY status"\n' in page


@pytest.mark.parametrize("places", [PLACES, replace(PLACES, kafka=None), replace(PLACES, clickhouse=None)])
def test_it_says_where_the_data_of_embedded_engines_is(places: Endpoints) -> None:
    page = ready_page(places, DEFAULTS, "postbacks")
    assert "All data is in /data; the next start continues with it." in page


def test_of_engines_elsewhere_it_says_nothing() -> None:
    page = ready_page(replace(PLACES, kafka=None, clickhouse=None), DEFAULTS, "postbacks")
    assert "/data;" not in page


def test_its_commands_name_an_unusual_folder() -> None:
    page = ready_page(PLACES, DEFAULTS, ".venv/bin/postbacks")
    assert "\n    .venv/bin/postbacks --data /data tail\n" in page


def test_stack_settings_name_engines_and_topics() -> None:
    places = replace(PLACES, kafka="127.0.0.1:1", clickhouse="127.0.0.1:2")
    assert stack_settings(places, with_embedded_kafka(load_settings({}), "127.0.0.1:1")) == {
        "POSTBACKS_KAFKA": "127.0.0.1:1",
        "POSTBACKS_PARTITIONS": "8",
        "POSTBACKS_REPLICATION": "1",
        "POSTBACKS_CLICKHOUSE": "http://default:@127.0.0.1:2/postbacks",
    }


def test_tokens_are_not_shown() -> None:
    page = ready_page(PLACES, load_settings({"POSTBACKS_TOKENS": "acme=topsecret"}), "postbacks")
    assert "http://127.0.0.1:8080/postback/TOKEN" in page
    assert "topsecret" not in page


def test_a_gateway_on_all_addresses_is_shown_on_loopback() -> None:
    assert "http://127.0.0.1:8080/postback" in ready_page(
        replace(PLACES, listen="0.0.0.0:8080"), DEFAULTS, "x"
    )


def test_the_rate_is_what_came_since_and_what_waits_is_told() -> None:
    before = {"postbacks_streams_merged": 100.0}
    now = {"postbacks_streams_merged": 4_100.0, "postbacks_streams_lag_records": 1_234.0}
    assert describe("streams", before, now, 2.0) == "streams 2,000 postbacks/s (1,234 waiting)"


def test_a_process_that_was_started_again_or_does_not_answer_flows_at_nothing() -> None:
    busy = {"postbacks_streams_merged": 4_100.0}
    assert describe("streams", busy, {"postbacks_streams_merged": 3.0}, 1.0) == "streams 0 postbacks/s"
    assert describe("streams", {}, busy, 1.0) == "streams 0 postbacks/s"
    assert describe("streams", busy, {}, 1.0) == "streams 0 postbacks/s"


def test_metrics_are_summed_over_their_labels() -> None:
    registry = CollectorRegistry()
    merged = Counter("merged_total", "", ["topic"], registry=registry)
    merged.labels("x").inc(3)
    merged.labels("y").inc(4)
    Gauge("lag", "", registry=registry).set(5)
    totals = read_totals(generate_latest(registry).decode())
    assert (totals["merged"], totals["lag"]) == (7.0, 5.0)


def test_every_metric_of_the_line_is_one_of_ours() -> None:
    assert metrics
    ours = {family.name for family in REGISTRY.collect()}
    assert set(FLOWS) == set(STAGES)
    assert {name for flow in FLOWS.values() for name in (flow.counter, flow.waiting)} <= ours
