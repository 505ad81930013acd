"""XML that is harmless: a small tree with line numbers. No document type, so no entities; nothing is fetched."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from xml.parsers import expat  # what makes XML dangerous is refused below

from blobdir.labels.files import encoding_of
from blobdir.labels.model import LabelError

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEEPEST: Final = 200


@dataclass(slots=True)
class Element:
    """An element; `text` is what stands directly in it."""

    name: str
    attributes: dict[str, str]
    line: int
    text: str = ""
    children: list[Element] = field(default_factory=list)

    def all(self, name: str) -> Iterator[Element]:
        """Children of a name."""
        return (child for child in self.children if child.name == name)

    def first(self, name: str) -> Element | None:
        """The first child of a name."""
        return next(self.all(name), None)

    def text_of(self, name: str, default: str = "") -> str:
        """Text of the first child of a name, without space around it."""
        child = self.first(name)
        return default if child is None else child.text.strip()

    def get(self, name: str) -> str:
        """An attribute; LabelError where there is none."""
        if name not in self.attributes:
            raise LabelError(f"its <{self.name}> has no {name}")
        return self.attributes[name]


def read_xml(data: bytes) -> Element:
    """Read a document.

    Raises
    ------
    LabelError
        It isn't XML; the message says at which line. Or it has a document type, which can hold entities.
    """
    is_wide = encoding_of(data).startswith("utf-32")  # which expat doesn't know
    parser = expat.ParserCreate("utf-8") if is_wide else expat.ParserCreate()
    stack: list[Element] = [Element("", {}, 0)]
    texts: list[list[str]] = [[]]

    def start(name: str, attributes: dict[str, str]) -> None:
        if len(stack) > _DEEPEST:
            raise LabelError(f"line {parser.CurrentLineNumber}: is nested too deeply")
        element = Element(name, attributes, parser.CurrentLineNumber)
        stack[-1].children.append(element)
        stack.append(element)
        texts.append([])

    def end(_name: str) -> None:
        stack.pop().text = "".join(texts.pop())

    def characters(text: str) -> None:
        texts[-1].append(text)

    def doctype(*_: Any) -> None:
        raise LabelError(
            f"line {parser.CurrentLineNumber}: has a document type (<!DOCTYPE>), which can hold entities that never "
            "end or read other files; remove it"
        )

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = characters
    parser.StartDoctypeDeclHandler = doctype
    if not data.strip():
        raise LabelError("is empty")
    try:
        parser.Parse(data.decode(encoding_of(data)).encode() if is_wide else data, True)
    except expat.ExpatError as error:
        raise LabelError(f"line {error.lineno}: isn't XML: {expat.errors.messages[error.code]}") from None
    except (ValueError, LookupError) as error:  # an encoding that nobody knows
        raise LabelError(f"isn't XML that can be read: {error}") from None
    return stack[0].children[0]
