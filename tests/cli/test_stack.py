"""Which processes `postbacks up` starts, and with which settings."""

from __future__ import annotations

from pathlib import Path

from cli.up.stack import Endpoints, Service, plan, with_embedded_kafka
from runtime.settings import load_settings

EMBEDDED = Endpoints(
    listen="127.0.0.1:8080",
    data=Path("/data"),
    ops={"gateway": "127.0.0.1:1", "streams": "127.0.0.1:2", "sinks": "127.0.0.1:3"},
    kafka="127.0.0.1:9092",
    clickhouse="127.0.0.1:8123",
)
ELSEWHERE = Endpoints(EMBEDDED.listen, EMBEDDED.data, EMBEDDED.ops, kafka=None, clickhouse=None)
DEFAULTS = load_settings({})
FOUND = with_embedded_kafka(DEFAULTS, "127.0.0.1:9092")


def by_name(places: Endpoints) -> dict[str, Service]:
    return {service.name: service for service in plan(places, FOUND if places.kafka else DEFAULTS)}


def test_every_stage_finds_the_embedded_engines() -> None:
    for stage in ("gateway", "streams", "sinks"):
        settings = by_name(EMBEDDED)[stage].settings
        assert settings["POSTBACKS_KAFKA"] == "127.0.0.1:9092"
        assert settings["POSTBACKS_CLICKHOUSE"] == "http://default:@127.0.0.1:8123/postbacks"


def test_the_embedded_broker_is_alone_and_speaks_plainly_whatever_the_settings_say_of_others() -> None:
    settings = by_name(EMBEDDED)["gateway"].settings
    assert settings["POSTBACKS_REPLICATION"] == "1"
    assert settings["POSTBACKS_KAFKA_SECURITY"] == "PLAINTEXT"


def test_stages_on_embedded_kafka_keep_the_default_partitions() -> None:
    for stage in plan(EMBEDDED, FOUND)[2:]:
        assert "POSTBACKS_PARTITIONS" not in stage.settings


def test_each_process_has_an_ops_port_and_a_folder_of_its_own() -> None:
    services = by_name(EMBEDDED)
    stages = [services[name] for name in ("gateway", "streams", "sinks")]
    assert [service.settings["POSTBACKS_OPS"] for service in stages] == list(EMBEDDED.ops.values())
    assert [service.ops for service in stages] == list(EMBEDDED.ops.values())
    folders = {service.settings["POSTBACKS_DATA"] for service in stages}
    assert folders == {"/data/gateway", "/data/streams", "/data/sinks"}


def test_only_the_gateway_is_told_where_to_listen() -> None:
    heard = [service.name for service in plan(EMBEDDED, FOUND) if "POSTBACKS_LISTEN" in service.settings]
    assert heard == ["gateway"]


def test_an_engine_that_runs_elsewhere_is_not_started_and_its_setting_is_left_alone() -> None:
    services = by_name(ELSEWHERE)
    assert list(services) == ["gateway", "streams", "sinks"]
    for service in services.values():
        assert not {"POSTBACKS_KAFKA", "POSTBACKS_CLICKHOUSE", "POSTBACKS_REPLICATION"} & set(
            service.settings
        )


def test_embedded_engines_keep_their_data_in_one_folder() -> None:
    services = by_name(EMBEDDED)
    assert services["kafka"].arguments == ("embedded", "kafka", "--port", "9092", "--data", "/data")
    assert services["clickhouse"].arguments == ("embedded", "clickhouse", "--port", "8123", "--data", "/data")


def test_gateway_is_held_by_embedded_kafka_alone() -> None:
    holding = [service.name for service in plan(EMBEDDED, FOUND) if "POSTBACKS_HOLD" in service.settings]
    assert holding == ["gateway"]
    assert by_name(EMBEDDED)["gateway"].settings["POSTBACKS_HOLD"] == "/data/kafka/hold"
    assert "POSTBACKS_HOLD" not in by_name(ELSEWHERE)["gateway"].settings
