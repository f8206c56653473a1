"""`GET /contact/NUMBER` on real engines: the verdict of ClickHouse, complete up to `as_of`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlencode

import pytest
from pydantic import SecretStr

from runtime.clickhouse.client import open_client
from streams.contact import CONTACTS, encode_contact, merge_contact
from tests.support.contact_events import contact_event
from tests.support.contact_lookup import NUMBER, OTHER_READING, POSTING, TOKENS, look_up, wait_for_answer
from tests.support.gateway import free_address, open_gateway, post
from tests.support.kafka import PARTITIONS
from tests.support.pipeline import create_pipeline
from tests.support.process import stderr_in
from tests.support.raw_server import raw_server, stay_silent
from tests.support.sinks import insert_values, open_sink
from tests.support.wait import eventually

STOP = {
    "SMSResponse": 1,
    "MessageID": "11111111-2222-1111-2222-000000000004",
    "FromPhoneNumber": f"1{NUMBER}",
    "ToPhoneNumber": "74121",
    "ResponseReceiveDate": "11/23/2026 12:00:00 PM",
    "Message": "Stop.",
}


async def test_as_of_passes_a_stop_with_its_verdict(
    fresh_kafka: str, prepared_database: str, tmp_path: Path
) -> None:
    pipeline = await create_pipeline(fresh_kafka, prepared_database, tmp_path)
    with (
        open_gateway(fresh_kafka, **TOKENS, clickhouse=prepared_database, partitions=PARTITIONS) as gateway,
        pipeline.streams.worker(),
        open_sink(fresh_kafka, prepared_database, partitions=PARTITIONS),
    ):
        before = await wait_for_answer(gateway.address)
        assert before["verdict"] == "ok"
        assert before["since"] is before["words"] is before["own_number"] is None
        posted = await post(gateway.address, urlencode(STOP).encode(), f"/postback/{POSTING}")
        assert posted.status == 200
        found = await wait_for_answer(gateway.address, time.time(), number="+1%20(757)%20555-0100")
        assert found == {
            "account": "acme",
            "number": NUMBER,
            "verdict": "opted_out",
            "since": "2026-11-23T12:00:00.000Z",
            "words": "Stop.",
            "own_number": "74121",
            "as_of": found["as_of"],
        }
        assert gateway.metric("postbacks_gateway_contacts_as_of_timestamp_seconds") > time.time() - 60


async def test_verdict_follows_account_own_number_and_policy(
    prepared_kafka: str, prepared_database: str
) -> None:
    events = [
        contact_event("e1", 1, "opted_out", number="7575550100", own_number="74121"),
        contact_event("e2", 1, "opted_out", number="7575550101", own_number="74121"),
        contact_event("e3", 2, "yes", number="7575550101", own_number="74121", words="YES"),
    ]
    with open_client(SecretStr(prepared_database)) as client:
        insert_values(client, CONTACTS, [encode_contact(merge_contact(None, event)) for event in events])
    settings = {"opt_out_scope": "number", "yes_opts_in": "true", "partitions": PARTITIONS}
    with open_gateway(prepared_kafka, **TOKENS, clickhouse=prepared_database, **settings) as gateway:
        for own_number, expected in [("", "opted_out"), ("74121", "opted_out"), ("+1 757 544 9510", "ok")]:
            assert (await wait_for_answer(gateway.address, own_number=own_number))["verdict"] == expected
        assert (await wait_for_answer(gateway.address, token=OTHER_READING))["verdict"] == "ok"
        opted_in = await wait_for_answer(gateway.address, number="7575550101")
        assert (opted_in["verdict"], opted_in["words"]) == ("ok", "YES")
        response = await eventually(
            lambda: look_up(gateway.address), "found", lambda response: response.status == 200
        )
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["content-type"] == "application/json"


@asynccontextmanager
async def unusable_clickhouse(kind: str) -> AsyncIterator[str]:
    if kind == "silent":
        async with raw_server(stay_silent) as server:
            yield f"http://{server.address}/postbacks"
    else:
        yield f"http://{free_address()}/postbacks"


@pytest.mark.parametrize("kind", ["silent", "stopped"])
async def test_no_verdict_without_an_answer_of_clickhouse(
    prepared_kafka: str, tmp_path: Path, kind: str
) -> None:
    async with unusable_clickhouse(kind) as clickhouse:
        settings = {"clickhouse": clickhouse, "partitions": PARTITIONS, "log_level": "warning"}
        log = tmp_path / "gateway.log"
        with stderr_in(log), open_gateway(prepared_kafka, **TOKENS, **settings) as gateway:
            await gateway.wait_for_metric("postbacks_gateway_contacts_as_of_timestamp_seconds", 1)
            responses = await asyncio.gather(*(look_up(gateway.address) for _ in range(3)))
            assert {response.status for response in responses} == {503}
            assert responses[0].headers["retry-after"] == "1"
            assert log.read_text().count("Contacts not looked up") == 1
            assert NUMBER not in log.read_text()
            posted = await post(gateway.address, urlencode(STOP).encode(), f"/postback/{POSTING}")
            assert posted.status == 200
