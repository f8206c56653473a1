"""Bytes of a stranger as text: UTF-8 where they are UTF-8, else Windows-1252, as browsers read it.

The provider does not say which it sends. Every sequence of bytes comes to some text, so reading never fails.
"""

from __future__ import annotations

#: Latin-1 agrees with Windows-1252 but for these 32 bytes. The five that Windows-1252 leaves undefined
#: stay the control characters that Latin-1 has there.
_WINDOWS_1252 = {
    byte: bytes([byte]).decode("cp1252")
    for byte in range(0x80, 0xA0)
    if byte not in (0x81, 0x8D, 0x8F, 0x90, 0x9D)
}


def decode_text(raw: bytes) -> str:
    """`raw` as text; never fails."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1").translate(_WINDOWS_1252)
