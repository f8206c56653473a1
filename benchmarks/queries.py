"""Queries: time and rows read of typical queries in ClickHouse, on the data of years.

The data is generated inside ClickHouse, over 90 days: a state per message, and a postback per step of its
life. Queries run once ClickHouse has no more merges to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from clickhouse_connect import get_client
from msgspec import json
from pydantic import SecretStr

from benchmarks.harness.engines import open_clickhouse
from benchmarks.harness.machine import describe_machine
from benchmarks.harness.result import Result
from benchmarks.harness.trials import BenchmarkOptions, Candidate, Figures, alternate
from sinks.migrate import migrate

TITLE = "Queries: typical queries in ClickHouse"
MESSAGES, DAYS, PAGE_SIZE = 20_000_000, 90, 1_000_000
START = "toDateTime64('2026-08-01 00:00:00', 3, 'UTC')"
MILLISECONDS, READ = "ms", "million rows read"

#: Seconds without a merge after which the parts count as merged.
MERGED_SECONDS = 5.0

#: The life of message n: its id and times, its final receipt code, and whether it has receipts and a reply.
LIFE = f"""
    SELECT
        number AS n,
        reinterpretAsUUID(reinterpretAsFixedString(sipHash128(n, 'message'))) AS id,
        {START} + toIntervalMillisecond(intDiv(n * {DAYS * 86_400_000}, {{all:UInt64}})) AS sent_time,
        sent_time + toIntervalSecond(2 + n % 5) AS carrier_time,
        sent_time + toIntervalSecond(10 + cityHash64(n) % 120) AS final_time,
        if(cityHash64(n, 'fate') % 100 < 92, '000', '024') AS final_code,
        concat('order-', toString(intDiv(n, 10))) AS reference,
        '74121' AS sender,
        concat('1', toString(2000000000 + cityHash64(n, 'phone') % 7000000000)) AS recipient,
        cityHash64(n, 'silence') % 50 != 0 AS has_receipts,
        n % 20 = 0 AS replied, final_time + 60 AS reply_time, if(n % 40 = 0, 'STOP', 'Yes ') AS reply_text,
        hex(sipHash128(n, 'reply')) AS reply_event,
        hex(sipHash128(n, 'sent')) AS sent_event, hex(sipHash128(n, 'carrier')) AS carrier_event,
        hex(sipHash128(n, 'final')) AS final_event
    FROM numbers({{first:UInt64}}, {{count:UInt64}})
"""
POSTBACKS = f"""
INSERT INTO postbacks (type, event_id, message_id, account, reference_id, from_number, to_number, occurred_at,
    received_at, client_ip, body, sent, matched, code, text, cluster, topic, partition, offset)
SELECT step.1, step.2, id, 'acme', reference,
    if(step.1 = 'response', recipient, sender), if(step.1 = 'response', sender, recipient),
    NULL, step.3, '192.0.2.7',
    concat('MessageID=', toString(id), '&ReferenceID=', reference, '&FromPhoneNumber=', sender,
        '&ToPhoneNumber=', recipient, '&DeliveryReceiptMessage=', step.5, '&Code=', step.4),
    if(step.1 = 'sent', true, NULL), if(step.1 = 'response', true, NULL), step.4, step.5,
    'generated', concat('postbacks.', step.1), n % 8, n
FROM ({LIFE}) ARRAY JOIN arrayConcat(
    [('sent', sent_event, sent_time, '', '')],
    if(has_receipts, [
        ('receipt', carrier_event, carrier_time, '003', concat('id:', toString(n), ' stat:ACCEPTED err:003')),
        ('receipt', final_event, final_time, final_code,
            concat('id:', toString(n), ' stat:FINAL err:', final_code))], []),
    if(replied, [('response', reply_event, reply_time, '', reply_text)], [])
) AS step
"""
STATES = f"""
INSERT INTO message_states (account, message_id, version, direction, reference_id, from_number, to_number,
    first_seen_at, last_seen_at, sent_at, carrier_at, delivered_at, failed_at, replied_at, overdue_at,
    attempts, receipts, replies, cluster)
SELECT 'acme', id, 1, 'outbound', reference, sender, recipient,
    sent_time, if(replied, reply_time, final_time), sent_time, if(has_receipts, carrier_time, NULL),
    if(has_receipts AND final_code = '000', final_time, NULL),
    if(has_receipts AND final_code != '000', final_time, NULL),
    if(replied, reply_time, NULL), if(has_receipts, NULL, sent_time + toIntervalDay(3)),
    [(sent_time, sent_event, true, NULL)],
    if(has_receipts, [
        (carrier_time, carrier_event, '003', '', NULL), (final_time, final_event, final_code, '', NULL)], []),
    if(replied, [(reply_time, reply_event, reply_text, NULL, NULL)], []),
    'generated'
FROM ({LIFE})
"""
DAY = "since = toDateTime('2026-09-15', 'UTC'), until = toDateTime('2026-09-16', 'UTC')"
MONTH = "since = toDateTime('2026-09-01', 'UTC'), until = toDateTime('2026-10-01', 'UTC')"
QUERIES = {
    "one message, with its state": "SELECT * FROM messages WHERE account = 'acme' AND message_id = {id:UUID}",
    "one message, its postbacks": "SELECT type, received_at, code FROM events WHERE message_id = {id:UUID}",
    "by reference": "SELECT * FROM messages_by_reference(reference = 'order-777777')",
    "a day's funnel by hour": (
        "SELECT toStartOfHour(first_seen_at) AS hour, count(), countIf(sent_at IS NOT NULL), "
        "countIf(delivered_at IS NOT NULL), countIf(replied_at IS NOT NULL) "
        f"FROM messages_between({DAY}) GROUP BY hour"
    ),
    "a day's latency p50, p95, p99 by hour": (
        "SELECT toStartOfHour(first_seen_at) AS hour, quantilesExact(0.5, 0.95, 0.99)("
        "dateDiff('millisecond', sent_at, delivered_at)) "
        f"FROM messages_between({DAY}) WHERE delivered_at IS NOT NULL GROUP BY hour"
    ),
    "a day's failures by code": (
        "SELECT code, uniqExact(event_id) FROM postbacks WHERE type = 'receipt' AND "
        "received_at >= '2026-09-15' AND received_at < '2026-09-16' GROUP BY code"
    ),
    "a day's overdue": f"SELECT count() FROM messages_between({DAY}) WHERE overdue_at IS NOT NULL",
    "30 days' replies by keyword": (
        "SELECT upper(trimBoth(text)) AS word, uniqExact(event_id) FROM postbacks WHERE type = 'response' "
        "AND received_at >= '2026-09-01' AND received_at < '2026-10-01' GROUP BY word"
    ),
    "a day's orphans": f"SELECT count() FROM messages_between({DAY}) WHERE orphan",
    "30 days' funnel": (
        f"SELECT count(), countIf(delivered_at IS NOT NULL), countIf(failed_at IS NOT NULL) "
        f"FROM messages_between({MONTH})"
    ),
}


async def measure(options: BenchmarkOptions) -> Result:
    """Generate `options.size` messages and three times as many postbacks, wait for merges, then query."""
    size = options.size or MESSAGES
    with TemporaryDirectory() as folder, open_clickhouse(Path(folder)) as engine:
        machine, url = describe_machine(), f"{engine.address}/benchmark"
        migrate(SecretStr(url))
        with closing(get_client(dsn=url, send_receive_timeout=600)) as client:
            for first in range(0, size, PAGE_SIZE):
                page = {"first": first, "count": min(PAGE_SIZE, size - first), "all": size}
                for statement in (POSTBACKS, STATES):
                    client.command(statement, page, settings={"max_partitions_per_insert_block": 0})
                print(f"  generated {first + page['count']:,} messages", flush=True)
            await _wait_merged(client)
            (message_id,), *_ = client.query(
                f"SELECT id FROM ({LIFE})", {"first": size // 2, "count": 1, "all": size}
            ).result_rows
            trials = await alternate(_candidates(client, {"id": message_id}), options)
            (postbacks,), *_ = client.query("SELECT count() FROM postbacks").result_rows
            bytes_on_disk = client.query(
                "SELECT table, round(sum(bytes_on_disk) / 1e9, 2) FROM system.parts "
                "WHERE active AND database = currentDatabase() GROUP BY table ORDER BY 2 DESC LIMIT 2"
            ).result_rows
    return Result(
        name="queries",
        machine=machine,
        conditions=[
            f"{size:,} messages, {postbacks:,} postbacks over {DAYS} days; {engine.name}",
            "on disk: " + ", ".join(f"{table} {gigabytes:g} GB" for table, gigabytes in bytes_on_disk),
        ],
        trials=trials,
    )


async def _wait_merged(client: Any) -> None:
    idle = 0.0
    while idle < MERGED_SECONDS:
        ((merges,),) = client.query("SELECT count() FROM system.merges").result_rows
        idle = 0.0 if merges else idle + 1
        await asyncio.sleep(1)


def _candidates(client: Any, parameters: Mapping[str, Any]) -> list[Candidate]:
    def candidate(name: str, query: str) -> Candidate:
        async def run() -> Mapping[str, Figures]:
            result = client.raw_query(
                query, parameters, settings={"use_query_condition_cache": 0}, fmt="JSON"
            )
            statistics = json.decode(result)["statistics"]
            return {name: {MILLISECONDS: statistics["elapsed"] * 1e3, READ: statistics["rows_read"] / 1e6}}

        return Candidate(name, run)

    return [candidate(name, query) for name, query in QUERIES.items()]
