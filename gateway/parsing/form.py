"""Reads a form, as the body of a request or the query of a URL, into its pairs of name and value.

What kind of form it is shows in its bytes, whatever a Content-Type says: a replay of a kept body has none.
Which names matter is left to `gateway.parsing.postback`.
"""

from __future__ import annotations

import re
from typing import TypeAlias
from urllib.parse import unquote_to_bytes

from multipart import MultipartError, PushMultipartParser

from gateway.parsing.text import decode_text

#: Names and values in the order sent, percent-escapes undone; a name may come again, no value is empty.
Pairs: TypeAlias = list[tuple[str, str]]

PART_LIMIT = 1_000

_PART_HEADER = re.compile(rb"content-disposition:\s*form-data", re.IGNORECASE)


class UnreadableForm(Exception):
    """It begins as a multipart form, and then breaks the rules of one."""


def read_form(raw: bytes) -> Pairs:
    """The pairs of a urlencoded or multipart form. Of anything else come odd ones, mostly none.

    Raises:
        UnreadableForm: a multipart form is damaged.
    """
    if raw.startswith(b"--") and _PART_HEADER.search(raw):
        return _read_multipart(raw)
    return _read_urlencoded(raw)


def _read_urlencoded(raw: bytes) -> Pairs:
    if not raw:
        return []
    raw = raw.replace(b"+", b" ")
    try:
        whole = raw.decode()
    except UnicodeDecodeError:  # each part is read by itself then: some may be UTF-8 all the same
        return [
            (_unescape(name).strip(), _unescape(value))
            for name, _, value in (part.partition(b"=") for part in raw.split(b"&"))
            if value
        ]
    return [
        (
            (_unescape(name) if "%" in name else name).strip(),
            _unescape(value) if "%" in value else value,
        )
        for name, _, value in [part.partition("=") for part in whole.split("&")]
        if value
    ]


def _unescape(raw: str | bytes) -> str:
    return decode_text(unquote_to_bytes(raw))


def _read_multipart(raw: bytes) -> Pairs:
    boundary = raw[2:].split(b"\r\n", 1)[0].rstrip()
    pairs: Pairs = []
    name, value = "", b""
    try:
        # Latin-1 keeps the bytes of a part's name, whatever they are.
        with PushMultipartParser(boundary, max_segment_count=PART_LIMIT, header_charset="latin-1") as parser:
            for event in parser.parse(raw):
                if event is None:
                    if value:
                        pairs.append((decode_text(name.encode("latin-1")).strip(), decode_text(value)))
                elif isinstance(event, bytearray):
                    value += event
                else:
                    name, value = event.name, b""
    except MultipartError as error:
        raise UnreadableForm(str(error)) from None
    return pairs
