"""Reads a form, as the body of a request or the query of a URL, into its pairs of name and value.

What kind of form it is shows in its bytes, whatever a Content-Type says: a replay of a kept body has none.
Which names matter is left to `gateway.parse`.
"""

from __future__ import annotations

import re
from typing import TypeAlias
from urllib.parse import unquote_to_bytes

from multipart import MultipartError, PushMultipartParser

from gateway.text import decode_text

#: Names and values in the order sent, percent-escapes undone; a name may come again.
Pairs: TypeAlias = list[tuple[str, str]]

PART_LIMIT = 1_000

_PART_HEADER = re.compile(rb"content-disposition:\s*form-data", re.IGNORECASE)


class UnreadableForm(Exception):
    """It begins as a multipart form, and then breaks the rules of one."""


def read_form(raw: bytes) -> Pairs:
    """The pairs of a urlencoded or multipart form. Anything else comes out as odd names without values.

    Raises:
        UnreadableForm: a multipart form is damaged.
    """
    if raw.startswith(b"--") and _PART_HEADER.search(raw):
        return _read_multipart(raw)
    return _read_urlencoded(raw)


def _read_urlencoded(raw: bytes) -> Pairs:
    pairs = []
    for pair in raw.split(b"&"):
        name, _, value = pair.partition(b"=")
        if pair:
            pairs.append((_unescape(name).strip(), _unescape(value)))
    return pairs


def _unescape(raw: bytes) -> str:
    if b"+" in raw:
        raw = raw.replace(b"+", b" ")
    if b"%" in raw:
        raw = unquote_to_bytes(raw)
    return decode_text(raw)


def _read_multipart(raw: bytes) -> Pairs:
    boundary = raw[2:].split(b"\r\n", 1)[0].rstrip()
    pairs: Pairs = []
    name, value = "", b""
    try:
        # Latin-1 keeps the bytes of a part's name, whatever they are.
        with PushMultipartParser(boundary, max_segment_count=PART_LIMIT, header_charset="latin-1") as parser:
            for event in parser.parse(raw):
                if event is None:
                    pairs.append((decode_text(name.encode("latin-1")).strip(), decode_text(value)))
                elif isinstance(event, bytearray):
                    value += event
                else:
                    name, value = event.name, b""
    except MultipartError as error:
        raise UnreadableForm(str(error)) from None
    return pairs
