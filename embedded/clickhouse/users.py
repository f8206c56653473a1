"""Authentication and permissions: two users without passwords, as the server listens on loopback only.

`default` may do everything, `reader` may read tables but no files. Passwords are checked all the same, so
that a client with wrong credentials fails here and not first in production.
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
    read_only: bool


USERS = {user.name: user for user in (User("default", "", False), User("reader", "", True))}


def authenticate(headers: Mapping[str, str], query: Mapping[str, str]) -> User:
    """Return the user of a request, from HTTP Basic, ClickHouse's headers or the URL, in this order.

    Raises:
        ClickHouseError: 516, unknown user or wrong password.
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
