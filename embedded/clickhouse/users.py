"""Who may do what: two users without a password, as loopback is all there is.

`default` may do everything, `reader` may read tables and no files. Both of a request's ways to say a
password are checked, so that a client with wrong credentials learns it here and not in production.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from embedded.clickhouse.errors import ClickHouseError


@dataclass(frozen=True)
class User:
    name: str
    password: str
    reads_only: bool


USERS = {user.name: user for user in (User("default", "", False), User("reader", "", True))}


def log_in(headers: Mapping[str, str], query: Mapping[str, str]) -> User:
    """The user of a request, by HTTP's Basic, ClickHouse's headers or the URL, in this order.

    Raises:
        ClickHouseError: 516, no such user or another password.
    """
    name = headers.get("X-ClickHouse-User", query.get("user", "default"))
    password = headers.get("X-ClickHouse-Key", query.get("password", ""))
    scheme, _, credentials = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            name, _, password = base64.b64decode(credentials, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            name = password = ""
    elif scheme:
        name = password = ""
    user = USERS.get(name)
    if user and hmac.compare_digest(user.password.encode(), password.encode()):
        return user
    raise ClickHouseError(
        516,
        f"{name}: Authentication failed: password is incorrect, or there is no user with such name",
        "AUTHENTICATION_FAILED",
    )
