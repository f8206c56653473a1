"""Replies that the gateway receives keep `postbacks send` from writing to those numbers."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

from msgspec import json

from tests.support.contact_lookup import POSTING, READING, TOKENS, wait_for_answer
from tests.support.gateway import RunningGateway, open_gateway, post
from tests.support.kafka import PARTITIONS
from tests.support.pipeline import create_pipeline
from tests.support.provider_server import answer
from tests.support.raw_server import RawServer, raw_server
from tests.support.send_command import send
from tests.support.sinks import open_sink

OPTED_OUT, SUSPECTED, OTHER = "17575550100", "17575550101", "17575550102"


async def post_reply(gateway: RunningGateway, number: str, text: str) -> None:
    fields = {"SMSResponse": 1, "MessageID": uuid4(), "FromPhoneNumber": number, "ToPhoneNumber": "74121"}
    form = urlencode(fields | {"Message": text}).encode()
    assert (await post(gateway.address, form, f"/postback/{POSTING}")).status == 200


def recipients(provider: RawServer) -> list[Any]:
    bodies = (json.decode(request.body) for request in provider.requests)
    return [number for body in bodies for number in body["SMSRequests"][0]["PhoneNumbers"]]


async def test_send_skips_number_after_posted_stop(
    fresh_kafka: str, prepared_database: str, tmp_path: Path
) -> None:
    pipeline, file = await create_pipeline(fresh_kafka, prepared_database, tmp_path), tmp_path / "rows.csv"
    file.write_text("to,text\n" + "".join(f"{number},Hi\n" for number in (OPTED_OUT, SUSPECTED, OTHER)))
    with (
        open_gateway(fresh_kafka, **TOKENS, clickhouse=prepared_database, partitions=PARTITIONS) as gateway,
        pipeline.streams.worker(),
        open_sink(fresh_kafka, prepared_database, partitions=PARTITIONS),
    ):
        await post_reply(gateway, OPTED_OUT, "STOP")
        await post_reply(gateway, SUSPECTED, "please stop texting me")
        await wait_for_answer(gateway.address, after=time.time())
        settings = {
            "read_token": READING,
            "contact_url": f"http://{gateway.address}/contact",
            "submission_url": f"http://{gateway.address}/submission/{POSTING}",
        }
        async with raw_server(answer()) as provider:
            status, output, _ = await send(provider, gateway, tmp_path, "--csv", file, **settings)
            assert (status, recipients(provider)) == (0, [OTHER])
            assert "opted out since" in output
            assert "“STOP”" in output
            assert "“please stop texting me”" in output
            options = ("--csv", file, "--include-suspected")
            status, _, _ = await send(provider, gateway, tmp_path, *options, **settings)
            assert (status, recipients(provider)) == (0, [OTHER, SUSPECTED])
