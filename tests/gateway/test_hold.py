"""The hold file: the gateway answers 503, and /readyz reports the reason."""

from __future__ import annotations

from pathlib import Path

from tests.support.gateway import form_request, open_gateway, post, wait_for_status
from tests.support.samples import SENT
from tests.support.wait import eventually


async def test_hold_file_makes_the_gateway_answer_503(fresh_kafka: str, tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    with open_gateway(fresh_kafka, hold=hold) as gateway:
        await wait_for_status(200, gateway.address, form_request(SENT))
        hold.write_text("Kafka's data takes 212 MiB of 200")
        await eventually(lambda: gateway.page("readyz")[0] == 503, "it is held")
        response = await post(gateway.address, SENT)
        assert response.status == 503
        assert "retry-after" in {name.lower() for name in response.headers}
        assert "hold: Kafka's data takes 212 MiB of 200" in gateway.readyz()
        hold.unlink()
        await wait_for_status(200, gateway.address, form_request(SENT))
