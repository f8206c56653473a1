"""The processes of `postbacks up` and their settings. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from embedded.kafka.retention import HOLD_FILE
from runtime.settings import PREFIX, Settings
from runtime.supervisor import GATEWAY_BACKOFF, MAX_BACKOFF, Service

#: In the order of the data flow, in which they are stopped.
STAGES = ("gateway", "streams", "sinks")
ENGINES = ("kafka", "clickhouse")
SIMULATOR, PROVIDER, RESPONDER = "simulator", "provider", "responder"

#: Settings that the embedded Kafka overrides: it is a single node without TLS.
EMBEDDED_KAFKA = {"kafka_security": "PLAINTEXT", "replication": 1}


@dataclass(frozen=True)
class Endpoints:
    """Addresses (`host:port`) and the data folder; an engine that runs elsewhere has no address."""

    listen: str
    data: Path
    ops: Mapping[str, str]
    kafka: str | None
    clickhouse: str | None
    #: Of the simulated provider, if automatic responses go to it.
    provider: str = ""


def with_embedded_kafka(settings: Settings, address: str) -> Settings:
    """The settings for the embedded Kafka at `host:port`."""
    return settings.model_copy(update={"kafka": address} | EMBEDDED_KAFKA)


def plan(endpoints: Endpoints, settings: Settings) -> tuple[Service, ...]:
    """The services of the stack, in any order: each retries until its dependencies are ready.

    Args:
        settings: with the embedded Kafka, if there is one, and with read tokens.
    """
    services: list[Service] = []
    shared = _engine_settings(endpoints, settings)
    data = str(endpoints.data)
    if endpoints.kafka:
        arguments = ("embedded", "kafka", "--port", _port(endpoints.kafka), "--data", data)
        services.append(Service("kafka", arguments))
    if endpoints.clickhouse:
        arguments = ("embedded", "clickhouse", "--port", _port(endpoints.clickhouse), "--data", data)
        services.append(Service("clickhouse", arguments))
    for stage in STAGES:
        own = {"OPS": endpoints.ops[stage], "DATA": str(endpoints.data / stage)}
        if stage == "gateway":
            own["LISTEN"] = endpoints.listen
            if read_tokens := settings.read_tokens.get_secret_value():
                own["READ_TOKENS"] = read_tokens
            if endpoints.kafka:
                own["HOLD"] = str(endpoints.data / "kafka" / HOLD_FILE)
        environment = {PREFIX + name: value for name, value in (shared | own).items()}
        backoff = GATEWAY_BACKOFF if stage == "gateway" else MAX_BACKOFF
        services.append(Service(stage, (stage,), environment, endpoints.ops[stage], max_backoff=backoff))
    return tuple(services)


def responder(endpoints: Endpoints, settings: Settings, rules: Path, submission_url: str) -> Service:
    """The process that answers responses by rules: a dry run, unless POSTBACKS_RESPOND is on.

    Args:
        submission_url: of the gateway, unless the settings have another one.
    """
    own = {
        "RESPOND": "on" if settings.respond == "on" else "dry-run",
        "RESPOND_RULES": str(rules.absolute()),
        "OPS": "127.0.0.1:0",
    }
    if settings.submission_url is None:
        own["SUBMISSION_URL"] = submission_url
    environment = _engine_settings(endpoints, settings) | own
    return Service(
        RESPONDER, ("streams.responder",), {PREFIX + name: value for name, value in environment.items()}
    )


def _engine_settings(endpoints: Endpoints, settings: Settings) -> dict[str, str]:
    """Settings of the embedded engines, without their prefix."""
    found: dict[str, str] = {}
    if endpoints.kafka:
        found |= {name.upper(): str(getattr(settings, name)) for name in ("kafka", *EMBEDDED_KAFKA)}
    if endpoints.clickhouse:
        found["CLICKHOUSE"] = embedded_clickhouse(endpoints.clickhouse)
    return found


def embedded_clickhouse(address: str) -> str:
    """The value of POSTBACKS_CLICKHOUSE for the embedded ClickHouse at `host:port`."""
    return f"http://default:@{address}/postbacks"


def simulator(url: str, rate: float, rules: Path | None) -> Service:
    """The simulated provider, which posts until it is stopped.

    Args:
        rules: of automatic responses, for which people write.
    """
    arguments = ("cli", "simulate", "--url", url, "--rate", f"{rate:g}")
    return Service(SIMULATOR, (*arguments, "--rules", str(rules.absolute())) if rules else arguments)


def _port(address: str) -> str:
    return address.rpartition(":")[2]
