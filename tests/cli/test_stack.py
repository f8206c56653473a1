"""The processes of `postbacks up`, and their settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.up.simulated import simulated_answers, with_simulated_answers
from cli.up.stack import Endpoints, plan, responder, with_embedded_kafka
from runtime.errors import InvalidSetting
from runtime.settings import load_settings
from runtime.supervisor import MAX_BACKOFF, Service
from streams.respond.rules_file import read_rules
from tests.support.auto_responses import rule_lines, rules_of
from tests.support.process import ROOT

EMBEDDED = Endpoints(
    listen="127.0.0.1:8080",
    data=Path("/data"),
    ops={"gateway": "127.0.0.1:1", "streams": "127.0.0.1:2", "sinks": "127.0.0.1:3"},
    kafka="127.0.0.1:9092",
    clickhouse="127.0.0.1:8123",
)
EXTERNAL = Endpoints(EMBEDDED.listen, EMBEDDED.data, EMBEDDED.ops, kafka=None, clickhouse=None)
DEFAULTS = load_settings({})
WITH_KAFKA = with_embedded_kafka(DEFAULTS, "127.0.0.1:9092")


def by_name(endpoints: Endpoints) -> dict[str, Service]:
    settings = WITH_KAFKA if endpoints.kafka else DEFAULTS
    return {service.name: service for service in plan(endpoints, settings)}


def test_every_stage_gets_the_embedded_engines() -> None:
    for stage in ("gateway", "streams", "sinks"):
        environment = by_name(EMBEDDED)[stage].environment
        assert environment["POSTBACKS_KAFKA"] == "127.0.0.1:9092"
        assert environment["POSTBACKS_CLICKHOUSE"] == "http://default:@127.0.0.1:8123/postbacks"


def test_embedded_kafka_overrides_replication_and_security() -> None:
    environment = by_name(EMBEDDED)["gateway"].environment
    assert environment["POSTBACKS_REPLICATION"] == "1"
    assert environment["POSTBACKS_KAFKA_SECURITY"] == "PLAINTEXT"


def test_stages_on_embedded_kafka_keep_the_default_partitions() -> None:
    for stage in plan(EMBEDDED, WITH_KAFKA)[2:]:
        assert "POSTBACKS_PARTITIONS" not in stage.environment


def test_each_stage_has_own_ops_port_and_folder() -> None:
    services = by_name(EMBEDDED)
    stages = [services[name] for name in ("gateway", "streams", "sinks")]
    assert [service.environment["POSTBACKS_OPS"] for service in stages] == list(EMBEDDED.ops.values())
    assert [service.ops for service in stages] == list(EMBEDDED.ops.values())
    folders = {service.environment["POSTBACKS_DATA"] for service in stages}
    assert folders == {"/data/gateway", "/data/streams", "/data/sinks"}


def test_gateway_is_restarted_sooner_than_others() -> None:
    backoffs = {name: service.max_backoff for name, service in by_name(EMBEDDED).items()}
    assert backoffs.pop("gateway") <= 5
    assert set(backoffs.values()) == {MAX_BACKOFF}


def test_only_the_gateway_gets_a_listen_address() -> None:
    services = plan(EMBEDDED, WITH_KAFKA)
    listening = [service.name for service in services if "POSTBACKS_LISTEN" in service.environment]
    assert listening == ["gateway"]


def test_external_engines_are_not_started() -> None:
    services = by_name(EXTERNAL)
    assert list(services) == ["gateway", "streams", "sinks"]
    overridden = {"POSTBACKS_KAFKA", "POSTBACKS_CLICKHOUSE", "POSTBACKS_REPLICATION"}
    for service in services.values():
        assert not overridden & set(service.environment)


def test_embedded_engines_share_one_folder() -> None:
    services = by_name(EMBEDDED)
    assert services["kafka"].arguments == ("embedded", "kafka", "--port", "9092", "--data", "/data")
    assert services["clickhouse"].arguments == ("embedded", "clickhouse", "--port", "8123", "--data", "/data")


def test_only_embedded_kafka_holds_the_gateway() -> None:
    services = plan(EMBEDDED, WITH_KAFKA)
    holding = [service.name for service in services if "POSTBACKS_HOLD" in service.environment]
    assert holding == ["gateway"]
    assert by_name(EMBEDDED)["gateway"].environment["POSTBACKS_HOLD"] == "/data/kafka/hold"
    assert "POSTBACKS_HOLD" not in by_name(EXTERNAL)["gateway"].environment


def test_responder_only_decides_unless_the_mode_is_on() -> None:
    modes = {}
    for mode in ("off", "dry-run", "on"):
        settings = with_embedded_kafka(load_settings({"POSTBACKS_RESPOND": mode}), "127.0.0.1:9092")
        service = responder(EMBEDDED, settings, Path("/rules.toml"), "http://127.0.0.1:8080/submission")
        modes[mode] = service.environment["POSTBACKS_RESPOND"]
        assert service.environment["POSTBACKS_KAFKA"] == "127.0.0.1:9092"
        assert service.environment["POSTBACKS_SUBMISSION_URL"] == "http://127.0.0.1:8080/submission"
    assert modes == {"off": "dry-run", "dry-run": "dry-run", "on": "on"}


def test_simulated_answers_never_reach_the_real_provider(tmp_path: Path) -> None:
    url = "https://customer.example/secret"
    settings = load_settings(
        {
            "POSTBACKS_PROVIDER": url,
            "POSTBACKS_LICENSE_KEY": "real",
            "POSTBACKS_SUBMISSION_URL": url,
            "POSTBACKS_STATUS_POSTBACK_URL": url,
        }
    )
    endpoints = Endpoints("127.0.0.1:1", tmp_path, {}, None, None, provider="127.0.0.1:2")
    real = responder(endpoints, settings, Path("/rules.toml"), "http://127.0.0.1:1/submission")
    provider, simulated = simulated_answers(real, endpoints, "http://127.0.0.1:1")
    assert simulated.environment.items() >= {
        ("POSTBACKS_PROVIDER", "http://127.0.0.1:2"),
        ("POSTBACKS_LICENSE_KEY", "simulated"),
        ("POSTBACKS_SUBMISSION_URL", "http://127.0.0.1:1/submission"),
        ("POSTBACKS_STATUS_POSTBACK_URL", "http://127.0.0.1:1/postback"),
    }
    assert provider.arguments[2:6] == ("--listen", "127.0.0.1:2", "--url", "http://127.0.0.1:1/postback")


def test_simulated_answers_are_sent_unless_the_user_decides() -> None:
    rules = read_rules(ROOT / "examples" / "rules.toml", 8)
    modes = [
        with_simulated_answers(load_settings(settings), rules, Path("rules.toml")).respond
        for settings in ({}, {"POSTBACKS_RESPOND": "dry-run"})
    ]
    assert modes == ["on", "dry-run"]
    with pytest.raises(InvalidSetting, match="are for acme: leave out `account`"):
        with_simulated_answers(load_settings({}), rules_of(rule_lines()), Path("rules.toml"))
