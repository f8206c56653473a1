"""Reads JSON: whole, or cut into its parts without changing a byte of them."""

from __future__ import annotations

from typing import Any

from msgspec import DecodeError, Raw, json

from gateway.parsing.nodes import MAX_DEPTH, Fields, Node, Unreadable
from gateway.parsing.values import decode_text

_BOM = b"\xef\xbb\xbf"
_decode_parts = json.Decoder(list[Raw]).decode
_decode_members = json.Decoder(dict[str, Raw]).decode


def read_json(raw: bytes) -> Node:
    """Read a document; its encoding is UTF-8, or else Windows-1252.

    Raises:
        Unreadable: not JSON, or nested too deeply.
    """
    try:
        value = json.decode(_without_bom(raw))
    except UnicodeDecodeError:
        return read_json(decode_text(_without_bom(raw)).encode())
    except (DecodeError, RecursionError) as error:
        raise Unreadable(str(error)) from None
    return _node(value, MAX_DEPTH)


def cut_array(raw: bytes) -> list[bytes]:
    """The bytes of each item of an array.

    Raises:
        Unreadable: not an array.
    """
    try:
        return [bytes(part) for part in _decode_parts(_without_bom(raw))]
    except (DecodeError, RecursionError) as error:
        raise Unreadable(str(error)) from None


def cut_object(raw: bytes) -> dict[str, bytes]:
    """The bytes of each member of an object, by its name in lower case.

    Raises:
        Unreadable: not an object.
    """
    try:
        members = _decode_members(_without_bom(raw))
    except UnicodeDecodeError:
        raise Unreadable("a name in it is not UTF-8") from None
    except (DecodeError, RecursionError) as error:
        raise Unreadable(str(error)) from None
    return {name.lower(): bytes(part) for name, part in members.items()}


def first_byte(raw: bytes) -> bytes:
    """The first byte that is neither whitespace nor a byte order mark: it tells what the document is."""
    return _without_bom(raw).lstrip()[:1]


def _without_bom(raw: bytes) -> bytes:
    return raw.removeprefix(_BOM)


def _node(value: Any, depth: int) -> Node:
    if depth <= 0:
        raise Unreadable(f"more than {MAX_DEPTH} levels are nested")
    if isinstance(value, dict):
        fields: Fields = {}
        for name, member in value.items():
            if node := _node(member, depth - 1):
                fields.setdefault(name.lower(), []).append(node)
        return fields
    if isinstance(value, list):
        return [_node(item, depth - 1) for item in value]
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
