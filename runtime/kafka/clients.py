"""The options that every Kafka client of a process shares, an admin client, and the cluster's id."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.helpers import create_ssl_context

from runtime.kafka.errors import translate_errors
from runtime.settings import Settings

#: Seconds that a broker has to answer an admin request.
REQUEST_TIMEOUT = 10
DAY_MS = 86_400_000


def client_options(settings: Settings) -> dict[str, Any]:
    """The keyword arguments of every aiokafka client: the brokers' addresses, TLS and SASL."""
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


def member_options(settings: Settings, group: str) -> dict[str, Any]:
    """The keyword arguments of a consumer that is a member of a group and commits by itself.

    It may go without polling for a day, such as during an outage of what it writes to, and stays a member.
    """
    session_ms = int(settings.session_timeout * 1000)
    return client_options(settings) | {
        "group_id": group,
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        "session_timeout_ms": session_ms,
        "heartbeat_interval_ms": session_ms // 3,
        "max_poll_interval_ms": DAY_MS,
    }


@asynccontextmanager
async def open_admin(options: Mapping[str, Any]) -> AsyncIterator[AIOKafkaAdminClient]:
    """Connect an admin client with these options, and close it after the block.

    Raises:
        KafkaUnavailable: no broker answers, or a request of the block failed.
    """
    admin = AIOKafkaAdminClient(**options, request_timeout_ms=REQUEST_TIMEOUT * 1000)
    try:
        with translate_errors(f"Kafka at {servers_of(options)} does not answer"):
            await admin.start()
            yield admin
    finally:
        await admin.close()


async def cluster_id(options: Mapping[str, Any]) -> str:
    """The id that Kafka generated for the cluster, different for each cluster.

    Raises:
        KafkaUnavailable: no broker answers.
    """
    async with open_admin(options) as admin:
        return str((await admin.describe_cluster())["cluster_id"])


def servers_of(options: Mapping[str, Any]) -> str:
    """The brokers' addresses as a text, `host:port,host:port`."""
    return ",".join(options["bootstrap_servers"])
