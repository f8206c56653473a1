"""The bodies of requests, decompressed piece by piece.

Clients send one frame per block (clickhouse-connect does), and one-shot functions stop silently after the
first: here all frames count, and a body that ends within one is refused.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Protocol

from backports import zstd
from lz4.frame import LZ4FrameDecompressor

from embedded.clickhouse.errors import ClickHouseError


class _Frame(Protocol):
    """One frame: what zlib's, lz4's and zstd's decompressors have in common."""

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
    """Turns pieces of a compressed body into pieces of the body.

    Raises:
        ClickHouseError: 48, the Content-Encoding is none of lz4, zstd, gzip, deflate.
    """

    def __init__(self, encoding: str) -> None:
        if encoding not in _FRAMES:
            allowed = ", ".join(_FRAMES)
            raise ClickHouseError(48, f"Content-Encoding {encoding}: it may be {allowed}", "NOT_IMPLEMENTED")
        self._encoding = encoding
        self._frame: _Frame | None = None

    def feed(self, data: bytes) -> bytes:
        """What the piece brings; ClickHouseError 271 when it is not of this encoding."""
        whole = []
        while data:
            self._frame = self._frame or _FRAMES[self._encoding]()
            try:
                whole.append(self._frame.decompress(data))
            except (RuntimeError, zstd.ZstdError, zlib.error) as error:
                raise self._broken(str(error)) from None
            data = b""
            if self._frame.eof:
                data, self._frame = self._frame.unused_data or b"", None
        return b"".join(whole)

    def end(self) -> None:
        """The body is over; ClickHouseError 271 when a frame is not."""
        if self._frame:
            raise self._broken("the body ends within a frame")

    def _broken(self, why: str) -> ClickHouseError:
        return ClickHouseError(271, f"Cannot decompress {self._encoding}: {why}", "CANNOT_DECOMPRESS")
