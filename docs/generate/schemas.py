"""docs/schemas/*.json: a JSON Schema of each topic's values, from the structs that encode them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

from msgspec import Struct, json

from gateway.postback import REJECTED, TOPIC_OF, Rejected
from streams.message import MESSAGES, Message

DIALECT = "https://json-schema.org/draft/2020-12/schema"
#: What the value of a record of each topic is.
STRUCT_OF: dict[str, type[Struct]] = {
    **{topic: struct for struct, topic in TOPIC_OF.items()},
    REJECTED: Rejected,
    MESSAGES: Message,
}


def page(topic: str) -> str:
    """The schema of a topic's values, alone."""
    definitions = components("#/$defs/{name}", STRUCT_OF[topic])
    schema = {
        "$schema": DIALECT,
        "$id": f"urn:postbacks:{topic}",
        "$ref": f"#/$defs/{STRUCT_OF[topic].__name__}",
        "$defs": definitions,
    }
    return json.format(json.encode(schema), indent=2).decode() + "\n"


def components(reference: str, *structs: type[Struct]) -> dict[str, Any]:
    """The schemas of structs and of those within them, by name; fields say what our comments on them say."""
    _, schemas = json.schema_components(structs, ref_template=reference)
    classes = {cls.__name__: cls for struct in structs for cls in _with_parts(struct)}
    for name, schema in schemas.items():
        schema["description"] = inspect.cleandoc(schema.get("description", "")).replace("\n", " ")
        told = dict(comments(classes[name]))
        for field, of in schema["properties"].items():
            if field.endswith("_at"):
                of["format"] = "date-time"
            if field in told:
                of["description"] = told[field]
    return schemas


def comments(struct: type[Struct]) -> Iterator[tuple[str, str]]:
    """The `#:` comments above fields, by field; those of its own replace those of its bases."""
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


def _with_parts(struct: type[Struct]) -> Iterator[type[Struct]]:
    """The struct and, of those that stand in the same file, all that it may hold."""
    module = inspect.getmodule(struct)
    yield struct
    for cls in vars(module).values():
        if inspect.isclass(cls) and issubclass(cls, Struct):
            yield cls
