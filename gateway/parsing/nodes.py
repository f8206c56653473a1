"""JSON and XML in one shape: text, lists and named fields, before anything is interpreted.

The same content gives equal nodes, whatever its whitespace, escapes and order of names. Null and empty values
are left out.
"""

from __future__ import annotations

from typing import TypeAlias

#: Names in lower case, as they match in any case. A name has a list of values, as names may repeat in XML.
Fields: TypeAlias = dict[str, list["Node"]]
#: A number or boolean of JSON is its text, as in XML.
Node: TypeAlias = "str | list[Node] | Fields"

#: Levels of nesting. The provider's deepest document has five: an array, an answer, its incoming messages,
#: one of them, and its fields.
MAX_DEPTH = 10


class Unreadable(Exception):
    """The text is not the JSON or XML that is expected here; the message says why, to the client."""


def text_at(fields: Fields, name: str) -> str:
    """The text of a field; empty if it is missing or nested."""
    value = fields.get(name, ("",))[0]
    return value if isinstance(value, str) else ""
