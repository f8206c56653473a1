"""How every process talks to Kafka: the options of its clients, and the cluster's name."""

from __future__ import annotations

from typing import Any

from aiokafka.helpers import create_ssl_context

from runtime.settings import Settings


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
