"""Asks ClickHouse over its HTTP interface; reads only. The one place of `console` that talks to it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from http.client import HTTPException
from urllib.error import HTTPError, URLError
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit
from urllib.request import Request, urlopen

from runtime.settings import PREFIX

CHUNK = 1 << 16


class QueryFailed(Exception):
    """ClickHouse refused the query, or is not there; its text says what to do."""


def run_query(
    url: str,
    query: str,
    format: str,
    parameters: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
) -> Iterator[bytes]:
    """The result in pieces; nothing of it comes before the query has succeeded.

    Args:
        url: `http://user:password@host:8123/postbacks`; with https, `?ca_cert=…` may name an authority.
        query: may name a FORMAT of its own.
        format: of the result, where the query names none.
        parameters: values of the query's `{name:Type}`.
        options: settings of ClickHouse for this query.

    Raises:
        QueryFailed: with ClickHouse's own words, or that there is none.
    """
    parts = urlsplit(url)
    arguments = {
        "database": parts.path.strip("/") or "default",
        "default_format": format,
        "readonly": "1",
        "wait_end_of_query": "1",
        **{f"param_{name}": value for name, value in (parameters or {}).items()},
        **(options or {}),
    }
    address = parts.netloc.rpartition("@")[2]
    request = Request(f"{parts.scheme}://{address}/?{urlencode(arguments)}", query.encode(errors="replace"))
    request.add_header("X-ClickHouse-User", unquote(parts.username or "default"))
    request.add_header("X-ClickHouse-Key", unquote(parts.password or ""))
    authority = dict(parse_qsl(parts.query)).get("ca_cert")
    try:
        with urlopen(request, context=ssl.create_default_context(cafile=authority)) as answer:
            while piece := answer.read(CHUNK):
                yield piece
    except HTTPError as error:
        raise QueryFailed(error.read().decode(errors="replace").strip()) from None
    except (URLError, HTTPException, OSError) as error:
        reason = getattr(error, "reason", error)
        raise QueryFailed(
            f"ClickHouse at {address} does not answer ({reason}). Does `postbacks up` run? "
            f"{PREFIX}CLICKHOUSE says where it is"
        ) from None
