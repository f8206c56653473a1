"""How every process talks to Kafka: the options of its clients, and the cluster's name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.helpers import create_ssl_context

from runtime.errors import KafkaUnavailable
from runtime.settings import Settings

REQUEST_SECONDS = 10


def client_options(settings: Settings) -> dict[str, Any]:
    """The keyword arguments that every aiokafka client of ours shares: where, and how secured."""
    options: dict[str, Any] = {
        "bootstrap_servers": settings.kafka.split(","),
        "security_protocol": settings.kafka_security,
    }
    if "SSL" in settings.kafka_security:
        options["ssl_context"] = create_ssl_context(
            cafile=settings.kafka_security_ca and str(settings.kafka_security_ca),
            certfile=settings.kafka_security_certificate and str(settings.kafka_security_certificate),
            keyfile=settings.kafka_security_key and str(settings.kafka_security_key),
        )
    if "SASL" in settings.kafka_security:
        options |= {
            "sasl_mechanism": settings.kafka_security_mechanism,
            "sasl_plain_username": settings.kafka_security_user,
            "sasl_plain_password": settings.kafka_security_password.get_secret_value(),
        }
    return options


async def cluster_id(options: Mapping[str, Any]) -> str:
    """The cluster's own name, which no other cluster has.

    Raises:
        KafkaAway: no broker answers.
    """
    admin = AIOKafkaAdminClient(**options, request_timeout_ms=REQUEST_SECONDS * 1000)
    try:
        await admin.start()
        return str((await admin.describe_cluster())["cluster_id"])
    except (KafkaError, OSError, TimeoutError) as error:
        servers = ",".join(options["bootstrap_servers"])
        raise KafkaUnavailable(
            f"Kafka at {servers} does not answer: {error or type(error).__name__}"
        ) from error
    finally:
        await admin.close()
