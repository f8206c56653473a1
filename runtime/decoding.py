"""Makes decoders total: whatever a value makes one raise becomes msgspec's DecodeError. Pure."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

from msgspec import DecodeError

T = TypeVar("T")


def total(decode: Callable[[bytes], T]) -> Callable[[bytes], T]:
    """Return a decoder that raises only DecodeError because of its value.

    msgspec also raises UnicodeDecodeError (text that is not UTF-8) and RecursionError (deep nesting). Lack of
    memory is not the value's fault. `decode` must do no I/O.
    """

    @wraps(decode)
    def decode_or_fail(value: bytes) -> T:
        try:
            return decode(value)
        except (DecodeError, MemoryError):
            raise
        except Exception as error:
            raise DecodeError(f"{type(error).__name__}: {error}") from None

    return decode_or_fail
