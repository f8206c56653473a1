"""The gateway's own TLS: its certificate, read again when it was renewed."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import NoReturn

from runtime.errors import InvalidSetting


class Certificate:
    """A certificate with its key, in PEM. `context` keeps serving what was last loaded."""

    def __init__(self, certificate: Path, key: Path | None) -> None:
        """Nothing is loaded yet. Without a key of its own it is in the certificate's file."""
        self._certificate = certificate
        self._key = key
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.set_alpn_protocols(["http/1.1"])

    @property
    def files(self) -> list[Path]:
        return [self._certificate, *([self._key] if self._key else [])]

    def load(self) -> None:
        """Take what the files hold now, for connections from now on.

        Raises:
            BadSetting: they cannot be read, or do not belong together; `context` is as it was.
        """
        self._load_into(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        self._load_into(self.context)

    def _load_into(self, context: ssl.SSLContext) -> None:
        try:
            context.load_cert_chain(self._certificate, self._key, password=self._no_password)
        except (OSError, ssl.SSLError) as error:
            self._refuse(error.strerror or str(error))

    def _no_password(self) -> str:
        self._refuse("the key is encrypted")

    def _refuse(self, why: str) -> NoReturn:
        key = f", POSTBACKS_TLS_KEY={self._key}" if self._key else ""
        raise InvalidSetting(
            f"POSTBACKS_TLS_CERTIFICATE={self._certificate}{key}: must be a certificate and its key in PEM, "
            f"without a password ({why})"
        ) from None
