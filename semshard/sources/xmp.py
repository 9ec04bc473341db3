"""XMP packets (ISO 16684-1): read strictly, and written in one form only, so that equal properties are equal bytes.

No file is trusted. The parser is expat, of the standard library; a DOCTYPE is refused, so no entity can be declared,
and neither entity bombs nor references to files and hosts exist (which is all that defusedxml would add). Size, depth
and number of elements are bounded. Comments, processing instructions and padding are not read, so none is published.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from xml.parsers import expat

MOST_BYTES, MOST_DEPTH, MOST_NODES = 1 << 20, 32, 20_000  # of a packet that is read

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
XML = "http://www.w3.org/XML/1998/namespace"
DC = "http://purl.org/dc/elements/1.1/"
PLUS = "http://ns.useplus.org/ldf/xmp/1.0/"
PHOTOSHOP = "http://ns.adobe.com/photoshop/1.0/"
RIGHTS = "http://ns.adobe.com/xap/1.0/rights/"
TIFF = "http://ns.adobe.com/tiff/1.0/"
IPTC_EXTENSION = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
CREATIVE_COMMONS = "http://creativecommons.org/ns#"
TDM = "http://www.w3.org/ns/tdmrep/"

# Readers that go by the prefix find these; other namespaces are numbered.
_PREFIXES = {
    RDF: "rdf", XML: "xml", DC: "dc", PLUS: "plus", PHOTOSHOP: "photoshop", RIGHTS: "xmpRights", TIFF: "tiff",
    IPTC_EXTENSION: "Iptc4xmpExt", CREATIVE_COMMONS: "cc", TDM: "tdm",
    "adobe:ns:meta/": "x",
    "http://ns.adobe.com/xap/1.0/": "xmp",
    "http://ns.adobe.com/xap/1.0/mm/": "xmpMM",
    "http://ns.adobe.com/xap/1.0/sType/ResourceRef#": "stRef",
    "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#": "stEvt",
    "http://ns.adobe.com/exif/1.0/": "exif",
    "http://ns.adobe.com/exif/1.0/aux/": "aux",
    "http://cipa.jp/exif/1.0/": "exifEX",
    "http://ns.adobe.com/camera-raw-settings/1.0/": "crs",
    "http://ns.adobe.com/lightroom/1.0/": "lr",
    "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/": "Iptc4xmpCore",
}  # fmt: skip
_HEAD = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
_TAIL = '<?xpacket end="r"?>'  # read-only: there is no padding to edit it in place
_ESCAPES = {
    ord(letter): text
    for letter, text in {
        "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#13;", "\n": "&#10;", "\t": "&#9;"
    }.items()
}  # fmt: skip
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Name = tuple[str, str]  # namespace, local name


class UnusableXmp(ValueError):
    """Bytes that are not an XMP packet, or go beyond the bounds."""


@dataclass(frozen=True)
class Property:
    """An element of a packet: a property, or a part of one."""

    name: Name
    text: str = ""  # of an element without parts
    attributes: tuple[tuple[Name, str], ...] = ()
    parts: tuple[Property, ...] = ()

    def walk(self) -> Iterator[tuple[Name, str]]:
        """The name and text of this element, of its attributes, and of all below it."""
        yield self.name, self.text
        yield from self.attributes
        for part in self.parts:
            yield from part.walk()


def read_packet(data: bytes) -> list[Property]:
    """The properties of a packet, each name once: the first one counts. Raises `UnusableXmp`."""
    if len(data) > MOST_BYTES:
        raise UnusableXmp("too large")
    reader = _Reader()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = reader.doctype
    parser.StartElementHandler, parser.EndElementHandler = reader.start, reader.end
    parser.CharacterDataHandler = reader.characters
    try:
        parser.Parse(data if b"\0" in data[:4] else data.rstrip(b"\0"), True)
    except (expat.ExpatError, LookupError, ValueError) as error:  # LookupError: an encoding that nobody knows
        raise UnusableXmp(str(error)) from None
    found: dict[Name, Property] = {}
    for each in reader.properties():
        found.setdefault(each.name, each)
    return list(found.values())


def write_packet(properties: Iterable[Property]) -> bytes:
    """A packet of those properties, in the order of their names. Read and written again it is the same bytes."""
    ordered = sorted(properties, key=lambda one: one.name)
    spaces = {name[0] for one in ordered for name, _ in one.walk()} - {"", XML, RDF}
    unknown = sorted(spaces - set(_PREFIXES))
    prefixes = _PREFIXES | {space: f"ns{number}" for number, space in enumerate(unknown, 1)}
    declared = "".join(f' xmlns:{prefixes[space]}="{escaped(space)}"' for space in sorted(spaces))
    body = "".join(_written(one, prefixes) for one in ordered)
    text = (
        f'{_HEAD}<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}">'
        f'<rdf:Description rdf:about=""{declared}>{body}</rdf:Description></rdf:RDF></x:xmpmeta>{_TAIL}'
    )
    return text.encode()


def plain(name: Name, text: str) -> Property:
    """A property that is one text."""
    return Property(name, clean(text))


def listed(name: Name, kind: str, texts: Sequence[str]) -> Property:
    """A property that is a list of texts; `kind` is Seq, Bag, or Alt for a text in the default language."""
    language = (((XML, "lang"), "x-default"),) if kind == "Alt" else ()
    items = tuple(Property((RDF, "li"), clean(text), language) for text in texts)
    return Property(name, parts=(Property((RDF, kind), parts=items),))


def clean(text: str) -> str:
    """The text without what XML cannot hold, and without space around it."""
    return _NOT_XML.sub("", text).strip()


def escaped(text: str) -> str:
    """The text as it may stand in an element or attribute."""
    return text.translate(_ESCAPES)


def _written(one: Property, prefixes: dict[str, str]) -> str:
    name = _qualified(one.name, prefixes)
    attributes = "".join(f' {_qualified(key, prefixes)}="{escaped(value)}"' for key, value in sorted(one.attributes))
    inside = "".join(_written(part, prefixes) for part in one.parts) or escaped(one.text)
    return f"<{name}{attributes}>{inside}</{name}>" if inside else f"<{name}{attributes}/>"


def _qualified(name: Name, prefixes: dict[str, str]) -> str:
    return f"{prefixes[name[0]]}:{name[1]}" if name[0] else name[1]


@dataclass
class _Element:
    name: Name
    attributes: tuple[tuple[Name, str], ...]
    text: list[str] = field(default_factory=list)
    parts: list[Property] = field(default_factory=list)


class _Reader:
    """Collects elements while expat reads."""

    def __init__(self) -> None:
        self._open: list[_Element] = []
        self._rdf: list[Property] = []
        self._nodes = 0

    def doctype(self, *ignored: object) -> None:
        raise UnusableXmp("it has a DOCTYPE")

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._nodes += 1 + len(attributes)
        if len(self._open) == MOST_DEPTH or self._nodes > MOST_NODES:
            raise UnusableXmp("too deep or too many elements")
        self._open.append(_Element(_name(name), tuple((_name(key), value) for key, value in attributes.items())))

    def characters(self, text: str) -> None:
        if self._open:
            self._open[-1].text.append(text)

    def end(self, name: str) -> None:
        done = self._open.pop()
        text = "" if done.parts else "".join(done.text)
        one = Property(done.name, text if text.strip() else "", done.attributes, tuple(done.parts))
        if done.name == (RDF, "RDF"):
            self._rdf.append(one)
        elif self._open:
            self._open[-1].parts.append(one)

    def properties(self) -> Iterator[Property]:
        """What describes the picture itself, written as elements or as attributes."""
        if not self._rdf:
            raise UnusableXmp("it holds no RDF")
        for node in (part for rdf in self._rdf for part in rdf.parts if part.name == (RDF, "Description")):
            for name, value in node.attributes:
                if name[0] not in ("", RDF, XML):
                    yield Property(name, value if value.strip() else "")
            for one in node.parts:
                if one.name[0] not in ("", RDF, XML):
                    yield replace(one, attributes=tuple(sorted(one.attributes)))


def _name(text: str) -> Name:
    space, _, local = text.rpartition(" ")
    return space, local
