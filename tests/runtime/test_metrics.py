"""What an operator sees of a pipeline that works, and of one whose engines are killed one after the other."""

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
from tests.support.sinks import make_topics, open_clickhouse, open_sink, rows, until
from tests.support.streams import Streams

#: Of a healthy pipeline these stay at 0, or have no label yet; what moves them has tests of its own.
TROUBLE = {
    "postbacks_gateway_produce_errors_total",
    "postbacks_gateway_producers_rebuilt_total",
    "postbacks_gateway_reloads_failed_total",
    "postbacks_gateway_spooled_total",
    "postbacks_gateway_spools_damaged_total",
    "postbacks_streams_states_recovered_total",
    "postbacks_streams_lease_lost_total",
    "postbacks_streams_states_healed_total",
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
    """A page of the operator's port."""
    try:
        with urlopen(f"http://{ops}/{name}") as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def samples(ops: str) -> Iterator[Sample]:
    for family in text_string_to_metric_families(page(ops, "metrics")[1]):
        yield from family.samples


def value(ops: str, name: str) -> float:
    """The sum of a metric's samples."""
    return sum(sample.value for sample in samples(ops) if sample.name == name)


def says(ops: str, words: str) -> Callable[[], bool]:
    """Whether a process's /readyz says so by now; before its port is open it says nothing."""

    def said() -> bool:
        try:
            return words in page(ops, "readyz")[1]
        except OSError:
            return False

    return said


async def test_every_metric_is_shown_and_every_killed_engine_is_said_and_measured(tmp_path: Path) -> None:
    with ExitStack() as stack:
        broker = stack.enter_context(running("embedded", "kafka", "--port", "0"))
        kafka = broker.line()
        await make_topics(kafka)
        clickhouse = stack.enter_context(open_clickhouse(tmp_path / "clickhouse"))
        database = f"{clickhouse.line()}/postbacks"
        gateway = stack.enter_context(open_gateway(kafka, partitions="4"))
        streams_at = stack.enter_context(Streams(kafka, tmp_path).worker()).ops
        sink = stack.enter_context(open_sink(kafka, database, partitions=4))
        ops = {"gateway": gateway.ops, "streams": streams_at, "sinks": sink.ops}

        for stage, address in ops.items():
            await until(says(address, "ready\n"), f"{stage} is ready")
        assert (await post(gateway.address, SENT)).status == 200
        assert (await post(gateway.address, b"hello=world")).status == 400
        await until(lambda: rows(database, "SELECT count() AS n FROM messages")[0]["n"] == 1, "it is stored")
        await until(lambda: value(sink.ops, "postbacks_sinks_freshness_seconds") > 0, "freshness")
        await until(lambda: value(streams_at, "postbacks_streams_states_kept") > 0, "states kept")
        for metric in all_metrics():
            for address in [ops[metric.part]] if metric.part else ops.values():
                shown = [sample for sample in samples(address) if sample.name in metric.sample_names]
                moved = any(sample.value for sample in shown)
                at_gateway_only = metric.name == "postbacks_rejected_total" and address != gateway.ops
                assert moved or at_gateway_only or metric.name in TROUBLE, metric.name

        clickhouse.kill()
        assert (await post(gateway.address, SENT)).status == 200
        await until(says(sink.ops, "clickhouse: "), "the sink says who is away")
        assert value(sink.ops, "postbacks_ready") == 0
        assert value(sink.ops, "postbacks_sinks_retries_total") > 0
        await until(lambda: value(sink.ops, "postbacks_sinks_lag_records") > 0, "what waits is counted")
        assert page(gateway.ops, "readyz") == page(streams_at, "readyz") == (200, "ready\n")

        broker.kill()
        for stage, address in ops.items():
            await until(says(address, "afka"), f"{stage} says that Kafka is away")
            assert value(address, "postbacks_ready") == 0
            assert page(address, "livez") == (200, "alive\n")  # to restart it would not help
        assert (await post(gateway.address, SENT)).status == 202
        assert value(gateway.ops, "postbacks_gateway_spooled_total") == 1
        await until(lambda: value(gateway.ops, "postbacks_gateway_spool_age_seconds") > 0, "it waits")
