"""Generates docs/asyncapi.yaml: the topics as an AsyncAPI 3 document, for the tools of other teams."""

from __future__ import annotations

from typing import Any

import yaml
from msgspec import json

from docs.generate import examples
from docs.generate.schemas import STRUCT_OF, components
from gateway.kafka.cloudevents import headers_of
from gateway.postback import POSTBACK_TOPICS, RECEIPT, REPUBLISHED, RESPONSE, SENT
from gateway.rejected import REJECTED
from gateway.submission import SUBMISSIONS
from gateway.topics import gateway_topics
from runtime.settings import Settings, load_settings
from streams.auto_response import AUTO_RESPONSES
from streams.contact import CONTACTS
from streams.contact_event import CONTACT_EVENTS
from streams.merge import MAX_NUMBER
from streams.message import MESSAGES, STATUSES
from streams.topics import streams_topics

#: The document shows the topics as they are created in production.
PRODUCTION: Settings = load_settings({"POSTBACKS_REPLICATION": "3"})
SUMMARY = {
    SENT: "The provider's attempt to hand a message to the carrier: accepted or refused",
    RESPONSE: "A person replied to a message, or wrote first",
    RECEIPT: "A delivery receipt",
    SUBMISSIONS: "The provider's answer to the send of one message: queued, or refused with an error",
    REJECTED: "A rejected request or record, with the reason and everything received",
    MESSAGES: "Everything known about one message; a tombstone when streams expires it",
    CONTACT_EVENTS: "A number opted out or in: by a reply, as the provider refuses to send, or imported",
    CONTACTS: "Everything known about whether one number may be written to; does not expire",
    AUTO_RESPONSES: "A decision about an automatic response, an intent to send it, or its outcome",
}
WRITERS = (
    *(("gateway", topic) for topic in (*POSTBACK_TOPICS, SUBMISSIONS, REJECTED)),
    ("streams", MESSAGES),
    ("streams", CONTACT_EVENTS),
    ("streams", CONTACTS),
    ("streams", AUTO_RESPONSES),
    ("streams", REJECTED),
)
KEY = {
    "type": "string",
    "description": "account/message_id: all events of a message are in partitions of the same number",
    "pattern": "^[^/]+/[0-9a-f-]{36}$",
}
KEY_OF_SUBMISSION = {
    "type": "string",
    "description": "account/message_id, like the message's postbacks; without a message_id account/event_id",
    "pattern": "^[^/]+/([0-9a-f-]{36}|[0-9a-f]{32})$",
}
KEY_OF_REJECTED = {"type": "string", "description": "rejection_id"}
KEY_OF_CONTACT = {
    "type": "string",
    "description": "account/number, the number in its canonical form: digits only, 10 of a US number",
    "pattern": f"^[^/]+/[0-9]{{1,{MAX_NUMBER}}}$",
}
KEYS = {
    SUBMISSIONS: KEY_OF_SUBMISSION,
    REJECTED: KEY_OF_REJECTED,
    CONTACT_EVENTS: KEY_OF_CONTACT,
    CONTACTS: KEY_OF_CONTACT,
    AUTO_RESPONSES: KEY_OF_CONTACT | {"pattern": f"^[^/]+/[0-9]{{0,{MAX_NUMBER}}}$"},
}
CLOUDEVENT = {
    "type": "object",
    "description": "CloudEvents in binary mode (absent without POSTBACKS_CLOUDEVENTS), and a mark of repair",
    "properties": {
        "ce_specversion": {"type": "string", "const": "1.0"},
        "ce_id": {"type": "string", "description": "event_id"},
        "ce_type": {"type": "string", "description": "the topic"},
        "ce_source": {"type": "string", "format": "uri-reference"},
        "ce_time": {"type": "string", "format": "date-time", "description": "received_at"},
        "content-type": {"type": "string", "const": "application/json"},
        REPUBLISHED[0]: {
            "type": "string",
            "const": REPUBLISHED[1].decode(),
            "description": "Only if `postbacks reconcile --repair` published it again",
        },
    },
}
TRANSITION = {
    "type": "object",
    "properties": {
        "status": {
            "type": "string",
            "description": "The new status; empty in a tombstone",
            "enum": ["", *STATUSES],
        },
        "previous": {
            "type": "string",
            "description": "The previous status; empty for a new message",
            "enum": ["", *STATUSES],
        },
    },
}


def page() -> str:
    text: str = yaml.safe_dump(document(), sort_keys=False, width=100, allow_unicode=True)
    return f"# Written by `make docs`.\n{text}"


def document() -> dict[str, Any]:
    specs = [
        *gateway_topics(PRODUCTION.partitions, PRODUCTION.replication),
        *streams_topics(PRODUCTION.partitions, PRODUCTION.replication),
    ]
    schemas = components("#/components/schemas/{name}", *STRUCT_OF.values())
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "postbacks",
            "version": "1.0.0",
            "description": "An SMS provider's postbacks, its answers to sends, the messages they are "
            "about, the contacts that opted out, and automatic responses, as Kafka topics. "
            "docs/consuming.md has example consumers, and documents ordering and duplicates.",
        },
        "defaultContentType": "application/json",
        "channels": {
            spec.name: {
                "address": spec.name,
                "summary": SUMMARY[spec.name],
                "messages": {spec.name: {"$ref": f"#/components/messages/{spec.name}"}},
                "bindings": {
                    "kafka": {
                        "topic": spec.name,
                        "partitions": spec.partitions,
                        "replicas": spec.replication,
                        "topicConfiguration": _configuration(dict(spec.config)),
                    }
                },
            }
            for spec in specs
        },
        "operations": {
            f"{writer}.{topic}": {
                "action": "send",
                "channel": {"$ref": f"#/channels/{topic}"},
                "summary": f"{writer} produces it",
            }
            for writer, topic in WRITERS
        },
        "components": {
            "messages": {topic: _message(topic) for topic in STRUCT_OF},
            "schemas": schemas,
        },
    }


def _message(topic: str) -> dict[str, Any]:
    _, value = examples.records()[topic]
    message: dict[str, Any] = {
        "name": topic,
        "summary": SUMMARY[topic],
        "contentType": "application/json",
        "payload": {"$ref": f"#/components/schemas/{STRUCT_OF[topic].__name__}"},
        "bindings": {"kafka": {"key": KEYS.get(topic, KEY)}},
        "examples": [{"payload": json.decode(value)}],
    }
    if topic == MESSAGES:
        message["headers"] = TRANSITION
    elif topic in (*POSTBACK_TOPICS, SUBMISSIONS):
        message["headers"] = CLOUDEVENT
        message["examples"][0]["headers"] = {
            name: header.decode() for name, header in headers_of(topic, value)
        }
    return message


def _configuration(config: dict[str, str]) -> dict[str, Any]:
    """The configuration as AsyncAPI's Kafka binding expects it, with lists and numbers."""
    numbers = {name: int(value) for name, value in config.items() if value.isdigit()}
    known = {"retention.ms", "max.message.bytes"}
    return {
        "cleanup.policy": config["cleanup.policy"].split(","),
        **{name: value for name, value in numbers.items() if name in known},
    }
