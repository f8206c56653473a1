"""Splits a form, from a request's body or a URL's query, into pairs of name and value.

The encoding is recognised by the bytes alone, as a replayed request may have no Content-Type. Which names are
fields is decided in `gateway.parsing.postback`.
"""

from __future__ import annotations

import re
from typing import TypeAlias
from urllib.parse import unquote_to_bytes

from multipart import MultipartError, PushMultipartParser

from gateway.parsing.values import decode_text

#: Names and values in the order sent, percent-decoded. Names may repeat; empty values are left out.
Pairs: TypeAlias = list[tuple[str, str]]

MAX_PARTS = 1_000

_PART_HEADER = re.compile(rb"content-disposition:\s*form-data", re.IGNORECASE)


class UnreadableForm(Exception):
    """A multipart form is damaged."""


def read_form(raw: bytes) -> Pairs:
    """The pairs of a urlencoded or multipart form. Other bodies yield few or no pairs.

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
        text = raw.decode()
    except UnicodeDecodeError:  # decode each part by itself, as others may still be UTF-8
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
        for name, _, value in [part.partition("=") for part in text.split("&")]
        if value
    ]


def _unescape(raw: str | bytes) -> str:
    return decode_text(unquote_to_bytes(raw))


def _read_multipart(raw: bytes) -> Pairs:
    boundary = raw[2:].split(b"\r\n", 1)[0].rstrip()
    pairs: Pairs = []
    name, value = "", b""
    try:
        # Latin-1 preserves the bytes of a part's name, so that decode_text can decode them.
        with PushMultipartParser(boundary, max_segment_count=MAX_PARTS, header_charset="latin-1") as parser:
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
