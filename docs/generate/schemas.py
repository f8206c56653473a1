"""Generates docs/schemas/*.json: a JSON Schema of each topic's values, from the structs that encode them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

from msgspec import Struct, json

from gateway.postback import TOPIC_OF
from gateway.rejected import REJECTED, Rejected
from gateway.submission import SUBMISSIONS, Submission
from streams.auto_response import AUTO_RESPONSES, AutoResponse
from streams.contact import CONTACTS, Contact
from streams.contact_event import CONTACT_EVENTS, ContactEvent
from streams.message import MESSAGES, Message

DIALECT = "https://json-schema.org/draft/2020-12/schema"
#: The struct of each topic's values.
STRUCT_OF: dict[str, type[Struct]] = {
    **{topic: struct for struct, topic in TOPIC_OF.items()},
    SUBMISSIONS: Submission,
    REJECTED: Rejected,
    MESSAGES: Message,
    CONTACT_EVENTS: ContactEvent,
    CONTACTS: Contact,
    AUTO_RESPONSES: AutoResponse,
}


def page(topic: str) -> str:
    """A self-contained schema of a topic's values."""
    definitions = components("#/$defs/{name}", STRUCT_OF[topic])
    schema = {
        "$schema": DIALECT,
        "$id": f"urn:postbacks:{topic}",
        "$ref": f"#/$defs/{STRUCT_OF[topic].__name__}",
        "$defs": definitions,
    }
    return json.format(json.encode(schema), indent=2).decode() + "\n"


def components(reference: str, *structs: type[Struct]) -> dict[str, Any]:
    """Schemas by name, of the structs and of nested ones; `#:` comments of fields become descriptions."""
    _, schemas = json.schema_components(structs, ref_template=reference)
    classes = {cls.__name__: cls for struct in structs for cls in _with_nested(struct)}
    for name, schema in schemas.items():
        schema["description"] = inspect.cleandoc(schema.get("description", "")).replace("\n", " ")
        descriptions = dict(comments(classes[name]))
        for field, definition in schema["properties"].items():
            if field.endswith("_at") or field in ("at", "scheduled_for"):
                definition["format"] = "date-time"
            if field in descriptions:
                definition["description"] = descriptions[field]
    return schemas


def comments(struct: type[Struct]) -> Iterator[tuple[str, str]]:
    """The `#:` comments by field; a struct's own override those of its bases."""
    for cls in reversed([base for base in struct.__mro__ if issubclass(base, Struct) and base is not Struct]):
        lines: list[str] = []
        for line in inspect.getsource(cls).splitlines():
            text = line.strip()
            if text.startswith("#: "):
                lines.append(text.removeprefix("#: "))
                continue
            if lines and (field := re.match(r"(\w+):", text)):
                yield field[1], " ".join(lines)
            lines = []


def _with_nested(struct: type[Struct]) -> Iterator[type[Struct]]:
    """The struct, and the structs of its module, which it may contain."""
    module = inspect.getmodule(struct)
    yield struct
    for cls in vars(module).values():
        if inspect.isclass(cls) and issubclass(cls, Struct):
            yield cls
