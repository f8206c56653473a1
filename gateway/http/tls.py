"""The gateway's TLS certificate, which can be reloaded after renewal."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import NoReturn

from runtime.errors import InvalidSetting


class Certificate:
    """A certificate and its key, in PEM. `context` serves the last version that was loaded."""

    def __init__(self, certificate: Path, key: Path | None) -> None:
        """Loads nothing yet. Without `key`, the certificate's file holds it."""
        self._certificate = certificate
        self._key = key
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.set_alpn_protocols(["http/1.1"])

    @property
    def files(self) -> list[Path]:
        return [self._certificate, *([self._key] if self._key else [])]

    def load(self) -> None:
        """Read the files, for connections from now on.

        Raises:
            InvalidSetting: unreadable, or the key does not match; `context` is unchanged.
        """
        self._load_into(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))  # if this fails, `context` is untouched
        self._load_into(self.context)

    def _load_into(self, context: ssl.SSLContext) -> None:
        try:
            context.load_cert_chain(self._certificate, self._key, password=self._no_password)
        except (OSError, ssl.SSLError) as error:
            self._fail(error.strerror or str(error))

    def _no_password(self) -> str:
        self._fail("the key is encrypted")

    def _fail(self, reason: str) -> NoReturn:
        key = f", POSTBACKS_TLS_KEY={self._key}" if self._key else ""
        raise InvalidSetting(
            f"POSTBACKS_TLS_CERTIFICATE={self._certificate}{key}: must be a certificate and its key in PEM, "
            f"without a password ({reason})"
        ) from None
