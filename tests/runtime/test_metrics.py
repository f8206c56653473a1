"""Metrics and /readyz of a healthy pipeline, and after each of its engines was killed."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from docs.generate.metrics import all_metrics
from runtime.metrics import RECOVERY_LEFT, SPOOL_AGE, SPOOL_BYTES, SPOOL_RECORDS, UNDERREPLICATED
from tests.support.gateway import open_gateway, post
from tests.support.kafka import create_topics
from tests.support.process import running
from tests.support.responding import responder_process
from tests.support.samples import RESPONSE, SENT
from tests.support.sinks import open_clickhouse, open_sink, rows
from tests.support.streams import Streams
from tests.support.wait import eventually

#: At 0 or without labels in a healthy pipeline; they have tests of their own.
ZERO_WHEN_HEALTHY = {
    "postbacks_gateway_produce_errors_total",
    "postbacks_gateway_kafka_clients_recreated_total",
    "postbacks_gateway_reload_failures_total",
    "postbacks_gateway_spooled_total",
    "postbacks_gateway_spools_damaged_total",
    "postbacks_streams_states_recovered_total",
    "postbacks_streams_lease_lost_total",
    "postbacks_streams_changelog_repairs_total",
    "postbacks_streams_overdue_total",
    "postbacks_streams_unsent_total",
    "postbacks_streams_tombstones_total",
    "postbacks_sinks_refused_total",
    "postbacks_sinks_retries_total",
    *(gauge._name for gauge in (SPOOL_RECORDS, SPOOL_BYTES, SPOOL_AGE, UNDERREPLICATED, RECOVERY_LEFT)),
    "postbacks_gateway_connections",
    "postbacks_streams_lag_records",
    "postbacks_sinks_lag_records",
    "postbacks_streams_unowned_partitions",
    "postbacks_sinks_unowned_partitions",
    "postbacks_respond_lag_records",
    "postbacks_respond_unowned_partitions",
    "postbacks_respond_in_flight",
    "postbacks_respond_outcomes_total",
    "postbacks_sinks_texted_after_stop_messages",
    "postbacks_sinks_texted_in_quiet_hours_messages",
}


@pytest.mark.engine
async def test_every_metric_is_exported_and_outages_are_reported(tmp_path: Path) -> None:
    with ExitStack() as stack:
        broker = stack.enter_context(running("embedded", "kafka", "--port", "0", "--data", tmp_path))
        kafka = broker.read_line()
        await create_topics(kafka)
        clickhouse = stack.enter_context(open_clickhouse(tmp_path / "clickhouse"))
        database = f"{clickhouse.read_line()}/postbacks"
        readers = {"read_tokens": "acme=token-that-reads", "clickhouse": database}
        gateway = stack.enter_context(open_gateway(kafka, partitions=4, ack_timeout=2, **readers))
        streams = stack.enter_context(Streams(kafka, tmp_path).worker())
        sink = stack.enter_context(open_sink(kafka, database, partitions=4))
        responder = stack.enter_context(
            responder_process(kafka, tmp_path, "127.0.0.1:1", gateway.address, respond="dry-run")
        )
        stages = {"gateway": gateway, "streams": streams, "sinks": sink, "respond": responder}

        for stage in stages.values():
            await stage.wait_ready()
        assert (await post(gateway.address, SENT)).status == 200
        assert (await post(gateway.address, b"hello=world")).status == 400
        await eventually(
            lambda: rows(database, "SELECT count() AS n FROM messages")[0]["n"] == 1,
            "the message is inserted",
        )
        await eventually(lambda: sink.metric("postbacks_sinks_freshness_seconds") > 0, "freshness")
        await eventually(lambda: streams.metric("postbacks_streams_states") > 0, "states")
        await gateway.wait_for_metric("postbacks_gateway_contacts_as_of_timestamp_seconds", 1)
        assert (await post(gateway.address, RESPONSE)).status == 200
        await responder.wait_for_metric("postbacks_respond_decisions_total", 1)
        for metric in all_metrics():
            for stage in [stages[metric.part]] if metric.part else stages.values():
                moved = any(map(stage.metric, metric.sample_names))
                at_gateway_only = metric.name == "postbacks_rejected_total" and stage is not gateway
                assert moved or at_gateway_only or metric.name in ZERO_WHEN_HEALTHY, metric.name

        clickhouse.kill()
        assert (await post(gateway.address, SENT)).status == 200
        await eventually(lambda: "clickhouse: " in sink.readyz(), "the sink reports ClickHouse")
        assert sink.metric("postbacks_ready") == 0
        assert sink.metric("postbacks_sinks_retries_total") > 0
        await eventually(lambda: sink.metric("postbacks_sinks_lag_records") > 0, "lag")
        assert gateway.page("readyz") == streams.page("readyz") == (200, "ready\n")

        broker.kill()
        for stage in stages.values():
            await eventually(stage.readyz, "Kafka is reported", lambda text: "afka" in text)
            assert stage.metric("postbacks_ready") == 0
            assert stage.page("livez") == (200, "alive\n")  # a restart would not help
        assert (await post(gateway.address, SENT)).status == 202
        assert gateway.metric("postbacks_gateway_spooled_total") == 1
        await eventually(lambda: gateway.metric("postbacks_gateway_spool_age_seconds") > 0, "spool age")
