"""The hold file: the gateway answers 503, and /readyz reports the reason."""

from __future__ import annotations

from pathlib import Path

from tests.support.gateway import open_gateway, post, request
from tests.support.samples import SENT
from tests.support.sinks import eventually

READY = b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_hold_file_makes_the_gateway_answer_503(fresh_kafka: str, tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    with open_gateway(fresh_kafka, hold=str(hold)) as gateway:

        async def accepted() -> bool:
            return (await post(gateway.address, SENT)).status == 200

        await eventually(accepted, "it accepts")
        hold.write_text("Kafka's data takes 212 MiB of 200")

        async def held() -> bool:
            return (await request(gateway.ops, READY)).status == 503

        await eventually(held, "it is held")
        response = await post(gateway.address, SENT)
        assert response.status == 503
        assert "retry-after" in {name.lower() for name in response.headers}
        assert b"hold: Kafka's data takes 212 MiB of 200" in (await request(gateway.ops, READY)).body
        hold.unlink()

        await eventually(accepted, "it accepts again")
