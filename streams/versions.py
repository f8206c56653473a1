"""Decodes states of tables, and refuses those of newer code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from msgspec import json

from runtime.decoding import total
from runtime.errors import StartupError


class NewerVersion(StartupError):
    """A state was written by newer code; merging into it would lose the fields that code added."""


class Versioned(Protocol):
    """A state with the number of its format."""

    version: int


S = TypeVar("S", bound=Versioned)


def state_decoder(state: type[S], newest: int, name: str) -> Callable[[bytes], S]:
    """Return a decoder of a record's value.

    It raises NewerVersion if the state's format is newer than `newest`, and msgspec.DecodeError if the value
    is no such state.

    Args:
        name: of a state, in the error: `a message`.
    """
    decode = total(json.Decoder(state).decode)

    def decode_state(value: bytes) -> S:
        decoded = decode(value)
        if decoded.version > newest:
            raise NewerVersion(
                f"{name} has format {decoded.version}, this code knows up to {newest}: upgrade it"
            )
        return decoded

    return decode_state
