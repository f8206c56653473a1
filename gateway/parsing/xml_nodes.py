"""Reads XML with expat, safely: without a document type, so that no entity can expand or be fetched."""

from __future__ import annotations

from typing import NamedTuple
from xml.parsers import expat

from gateway.parsing.nodes import MAX_DEPTH, Fields, Node, Unreadable

_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")


class XmlPart(NamedTuple):
    """The root, or a child of it."""

    #: In lower case, without its namespace.
    name: str
    #: From the first byte of its start tag to the last one of its end tag.
    raw: bytes
    node: Node


def looks_like_xml(raw: bytes) -> bool:
    """Whether the document begins as only XML does."""
    return raw.startswith(_UTF16_BOMS) or raw.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"<"


def read_xml(raw: bytes) -> tuple[XmlPart, list[XmlPart]]:
    """The root and its children; its encoding is the one it declares, or UTF-8.

    Raises:
        Unreadable: not XML, has a document type, or is nested too deeply.
    """
    return _Reader(raw).read()


class _Open:
    """An element whose end tag is not read yet."""

    def __init__(self, name: str, start: int) -> None:
        self.name = name
        self.start = start
        self.texts: list[str] = []
        self.fields: Fields = {}

    @property
    def node(self) -> Node:
        return self.fields or "".join(self.texts)


class _Reader:
    def __init__(self, raw: bytes) -> None:
        #: Whitespace is not allowed before an XML declaration, but does no harm.
        self._raw = raw if raw.startswith(_UTF16_BOMS) else raw.lstrip()
        self._open: list[_Open] = []
        #: A child of the root whose end tag is read, but not where it ends: at the next event.
        self._closed: _Open | None = None
        self._children: list[XmlPart] = []
        self._root: XmlPart | None = None
        self._parser = parser = expat.ParserCreate()
        parser.StartDoctypeDeclHandler = self._doctype
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.DefaultHandler = self._other

    def read(self) -> tuple[XmlPart, list[XmlPart]]:
        try:
            self._parser.Parse(self._raw, True)
        except (expat.ExpatError, ValueError, LookupError) as error:  # the latter for unknown encodings
            raise Unreadable(str(error)) from None
        assert self._root  # else expat fails: no element found
        return self._root, self._children

    def _doctype(self, *_: object) -> None:
        raise Unreadable("a document type is not allowed")

    def _start(self, name: str, _: object) -> None:
        self._finish_child()
        if len(self._open) == MAX_DEPTH:
            raise Unreadable(f"more than {MAX_DEPTH} levels are nested")
        self._open.append(_Open(name.rpartition(":")[2].lower(), self._parser.CurrentByteIndex))

    def _end(self, _: str) -> None:
        self._finish_child()
        element = self._open.pop()
        if not self._open:
            self._root = XmlPart(element.name, self._raw, element.node)
            return
        if element.node:
            self._open[-1].fields.setdefault(element.name, []).append(element.node)
        if len(self._open) == 1:
            self._closed = element

    def _text(self, text: str) -> None:
        self._finish_child()
        self._open[-1].texts.append(text)

    def _other(self, _: str) -> None:
        self._finish_child()

    def _finish_child(self) -> None:
        if child := self._closed:
            raw = self._raw[child.start : self._parser.CurrentByteIndex]
            self._children.append(XmlPart(child.name, raw, child.node))
            self._closed = None
