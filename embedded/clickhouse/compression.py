"""Streaming decompression of request bodies.

Clients send one frame per block (clickhouse-connect does), and one-shot functions silently stop after the
first. This decompresses all frames, and rejects a body that ends inside one.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Protocol

from backports import zstd
from lz4.frame import LZ4FrameDecompressor

from embedded.clickhouse.errors import ClickHouseError


class _Frame(Protocol):
    """The common interface of zlib's, lz4's and zstd's decompressors of one frame."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes | None: ...
    def decompress(self, data: bytes, /) -> bytes: ...


_FRAMES: dict[str, Callable[[], _Frame]] = {
    "lz4": LZ4FrameDecompressor,
    "zstd": zstd.ZstdDecompressor,
    "gzip": lambda: zlib.decompressobj(zlib.MAX_WBITS | 16),
    "deflate": zlib.decompressobj,
}


class Decompressor:
    """Decompresses a body chunk by chunk.

    Raises:
        ClickHouseError: 48, the Content-Encoding is none of lz4, zstd, gzip, deflate.
    """

    def __init__(self, encoding: str) -> None:
        if encoding not in _FRAMES:
            allowed = ", ".join(_FRAMES)
            raise ClickHouseError(48, f"Content-Encoding {encoding}: it may be {allowed}", "NOT_IMPLEMENTED")
        self._encoding = encoding
        self._frame: _Frame | None = None

    def decompress(self, data: bytes) -> bytes:
        """Decompress the next chunk.

        Raises:
            ClickHouseError: 271, the data is not in this encoding.
        """
        decompressed = []
        while data:
            self._frame = self._frame or _FRAMES[self._encoding]()
            try:
                decompressed.append(self._frame.decompress(data))
            except (RuntimeError, zstd.ZstdError, zlib.error) as error:
                raise self._error(str(error)) from None
            data = b""
            if self._frame.eof:
                data, self._frame = self._frame.unused_data or b"", None
        return b"".join(decompressed)

    def finish(self) -> None:
        """Check that the body ended with a complete frame.

        Raises:
            ClickHouseError: 271, it ended inside a frame.
        """
        if self._frame:
            raise self._error("the body ends within a frame")

    def _error(self, reason: str) -> ClickHouseError:
        return ClickHouseError(271, f"Cannot decompress {self._encoding}: {reason}", "CANNOT_DECOMPRESS")
