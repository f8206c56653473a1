"""Metrics and /readyz of a healthy pipeline, and after each of its engines was killed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from docs.generate.metrics import all_metrics
from runtime.metrics import RECOVERY_LEFT, SPOOL_AGE, SPOOL_BYTES, SPOOL_RECORDS, UNDERREPLICATED
from tests.support.gateway import open_gateway, post
from tests.support.process import running
from tests.support.samples import SENT
from tests.support.sinks import create_topics, eventually, open_clickhouse, open_sink, rows
from tests.support.streams import Streams

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
    "postbacks_streams_tombstones_total",
    "postbacks_sinks_refused_total",
    "postbacks_sinks_retries_total",
    *(gauge._name for gauge in (SPOOL_RECORDS, SPOOL_BYTES, SPOOL_AGE, UNDERREPLICATED, RECOVERY_LEFT)),
    "postbacks_gateway_connections",
    "postbacks_streams_lag_records",
    "postbacks_sinks_lag_records",
    "postbacks_streams_unowned_partitions",
    "postbacks_sinks_unowned_partitions",
}


def page(ops: str, name: str) -> tuple[int, str]:
    """Status and text of a page of the ops port."""
    try:
        with urlopen(f"http://{ops}/{name}") as response:
            return response.status, response.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def samples(ops: str) -> Iterator[Sample]:
    for family in text_string_to_metric_families(page(ops, "metrics")[1]):
        yield from family.samples


def value(ops: str, name: str) -> float:
    """The sum of a metric's samples."""
    return sum(sample.value for sample in samples(ops) if sample.name == name)


def readyz_contains(ops: str, text: str) -> Callable[[], bool]:
    """A condition; false as long as the port is not open."""

    def contains() -> bool:
        try:
            return text in page(ops, "readyz")[1]
        except OSError:
            return False

    return contains


async def test_every_metric_is_exported_and_outages_are_reported(tmp_path: Path) -> None:
    with ExitStack() as stack:
        broker = stack.enter_context(running("embedded", "kafka", "--port", "0"))
        kafka = broker.read_line()
        await create_topics(kafka)
        clickhouse = stack.enter_context(open_clickhouse(tmp_path / "clickhouse"))
        database = f"{clickhouse.read_line()}/postbacks"
        gateway = stack.enter_context(open_gateway(kafka, partitions="4"))
        streams_ops = stack.enter_context(Streams(kafka, tmp_path).worker()).ops
        sink = stack.enter_context(open_sink(kafka, database, partitions=4))
        ops = {"gateway": gateway.ops, "streams": streams_ops, "sinks": sink.ops}

        for stage, address in ops.items():
            await eventually(readyz_contains(address, "ready\n"), f"{stage} is ready")
        assert (await post(gateway.address, SENT)).status == 200
        assert (await post(gateway.address, b"hello=world")).status == 400
        await eventually(
            lambda: rows(database, "SELECT count() AS n FROM messages")[0]["n"] == 1,
            "the message is inserted",
        )
        await eventually(lambda: value(sink.ops, "postbacks_sinks_freshness_seconds") > 0, "freshness")
        await eventually(lambda: value(streams_ops, "postbacks_streams_states") > 0, "states")
        for metric in all_metrics():
            for address in [ops[metric.part]] if metric.part else ops.values():
                exported = [sample for sample in samples(address) if sample.name in metric.sample_names]
                moved = any(sample.value for sample in exported)
                at_gateway_only = metric.name == "postbacks_rejected_total" and address != gateway.ops
                assert moved or at_gateway_only or metric.name in ZERO_WHEN_HEALTHY, metric.name

        clickhouse.kill()
        assert (await post(gateway.address, SENT)).status == 200
        await eventually(readyz_contains(sink.ops, "clickhouse: "), "the sink reports ClickHouse")
        assert value(sink.ops, "postbacks_ready") == 0
        assert value(sink.ops, "postbacks_sinks_retries_total") > 0
        await eventually(lambda: value(sink.ops, "postbacks_sinks_lag_records") > 0, "lag")
        assert page(gateway.ops, "readyz") == page(streams_ops, "readyz") == (200, "ready\n")

        broker.kill()
        for stage, address in ops.items():
            await eventually(readyz_contains(address, "afka"), f"{stage} reports Kafka")
            assert value(address, "postbacks_ready") == 0
            assert page(address, "livez") == (200, "alive\n")  # a restart would not help
        assert (await post(gateway.address, SENT)).status == 202
        assert value(gateway.ops, "postbacks_gateway_spooled_total") == 1
        await eventually(lambda: value(gateway.ops, "postbacks_gateway_spool_age_seconds") > 0, "spool age")
