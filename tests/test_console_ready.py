"""What `postbacks up` tells a newcomer when it is ready, and then from second to second."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, generate_latest

from console.rates import FLOWS, describe, read_totals
from console.ready import SAMPLE_ID, ready_page
from console.stack import STAGES, Places, with_embedded_kafka
from runtime import metrics
from runtime.settings import load_settings

PLACES = Places("127.0.0.1:8080", Path("/data"), {}, "127.0.0.1:9092", "127.0.0.1:8123")
DEFAULTS = load_settings({})


def test_it_names_the_url_a_post_to_try_and_how_to_look_at_it() -> None:
    page = ready_page(PLACES, DEFAULTS, "postbacks")
    assert "\n    http://127.0.0.1:8080/postback\n" in page
    assert "curl http://127.0.0.1:8080/postback -d 'SMSSent=1&MessageID=9a35e913-" in page
    assert f"\n    postbacks message {SAMPLE_ID}\n" in page
    assert '\n    postbacks sql "SELECT status, count() FROM messages GROUP BY status"\n' in page


def test_it_says_that_the_brokers_log_is_in_memory_and_where_the_rest_is() -> None:
    page = ready_page(PLACES, with_embedded_kafka(DEFAULTS, "127.0.0.1:9092"), "postbacks")
    assert "keeps its log in memory" in page
    assert "With POSTBACKS_PARTITIONS=1 " in page
    assert "stays, in /data." in page


def test_of_engines_elsewhere_it_says_nothing() -> None:
    page = ready_page(replace(PLACES, kafka=None, clickhouse=None), DEFAULTS, "postbacks")
    assert "memory" not in page
    assert "stays" not in page


def test_its_commands_find_engines_on_unusual_ports() -> None:
    places = replace(PLACES, kafka="127.0.0.1:1", clickhouse="127.0.0.1:2")
    settings = "POSTBACKS_KAFKA=127.0.0.1:1 POSTBACKS_CLICKHOUSE=http://default:@127.0.0.1:2/postbacks"
    assert f"\n    {settings} .venv/bin/postbacks tail\n" in ready_page(
        places, DEFAULTS, ".venv/bin/postbacks"
    )


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
