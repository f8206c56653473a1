"""The text of a rule, with placeholders in braces. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from string import Formatter

#: The handset's number, ours, the keyword as the rule has it, and the ReferenceID of the message that was
#: replied to (mostly empty).
PLACEHOLDERS = ("number", "own_number", "keyword", "reference")
#: Characters of a placeholder's value; the rest is cut off.
MAX_VALUE = 40


@dataclass(frozen=True)
class Template:
    """A text in parts: each is literal text, and a placeholder after it (empty: none)."""

    parts: tuple[tuple[str, str], ...]

    @property
    def placeholders(self) -> frozenset[str]:
        return frozenset(name for _, name in self.parts if name)

    def render(self, values: Mapping[str, str]) -> str:
        """The text with the placeholders' values, on one line each."""
        return "".join(text + _value(values, name) for text, name in self.parts)


def read_template(text: str) -> Template:
    """Read a text; `{{` and `}}` are braces.

    Raises:
        ValueError: it has unpaired braces or another placeholder; says what is allowed.
    """
    return Template(tuple(_parts(text)))


def _parts(text: str) -> Iterator[tuple[str, str]]:
    try:
        parsed = list(Formatter().parse(text))
    except ValueError:
        raise ValueError("has a brace without its pair; {{ and }} stand for braces") from None
    for literal, name, form, conversion in parsed:
        if name is not None and (name not in PLACEHOLDERS or form or conversion):
            allowed = ", ".join(f"{{{known}}}" for known in PLACEHOLDERS)
            raise ValueError(f"has the unknown placeholder {{{name}}}; allowed are {allowed}")
        yield literal, name or ""


def _value(values: Mapping[str, str], name: str) -> str:
    return " ".join(values[name].split())[:MAX_VALUE] if name else ""
