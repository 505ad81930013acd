"""Pascal VOC: an XML file for each image, boxes only; ``ImageSets/Main`` has the splits."""

from __future__ import annotations

import re
from math import degrees
from posixpath import basename, dirname, join, splitext
from typing import TYPE_CHECKING, Any, Final

from blobdir.labels.claims import Claims
from blobdir.labels.companions import is_mask_of_voc
from blobdir.labels.files import lines_of, without_mark
from blobdir.labels.finding import Found
from blobdir.labels.lists import NO_SPLIT, SETS, Lists, image_sets, of_class, plain_lists, together, without_task
from blobdir.labels.model import (
    Box,
    LabelError,
    Labels,
    MissingError,
    Picture,
    Polygon,
    Thing,
    UnclearError,
    add_flag,
    number,
)
from blobdir.labels.namesakes import is_bare
from blobdir.labels.rounds import turned_box
from blobdir.labels.safexml import read_xml
from blobdir.labels.sizes import stated
from blobdir.labels.splitnames import is_whole, list_order
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from blobdir.labels.files import LabelFiles
    from blobdir.labels.finding import Images
    from blobdir.labels.model import Complain
    from blobdir.labels.safexml import Element
    from blobdir.labels.sizes import Size

_ROOT: Final = re.compile(rb"<annotation[\s>]", re.IGNORECASE)
FLAGS: Final = ("truncated", "difficult", "occluded")
_OF_OBJECTS: Final = frozenset(
    ("name", "bndbox", "robndbox", "polygon", "pose", "part", "attributes", "deleted", *FLAGS)
)
_SHAPES: Final = ("bndbox", "robndbox", "polygon")
_ONCE: Final = ("name", *_SHAPES)
_OF_IMAGES: Final = frozenset(("filename", "object", "objects", "segmented", "size"))
_ONE_SAYS: Final = ("pose", *FLAGS, "attributes", "deleted")
"""What an object has once, too; equal ones are one."""
_MANY: Final = ("object", "pt", "attribute")
_SIDES: Final = ("xmin", "ymin", "xmax", "ymax", "cx", "cy", "w", "h", "angle")


_BOX: Final = frozenset(_SIDES)
_TAGS: Final = {
    "annotation": _OF_IMAGES | {"folder", "path"},
    "size": frozenset(("width", "height", "depth")),
    "objects": frozenset(("object",)),
    "object": _OF_OBJECTS,
    **dict.fromkeys(("bndbox", "robndbox"), _BOX),
    "polygon": frozenset(("pt", *(f"{axis}{n}" for axis in "xy" for n in range(1, 1000)))),
    "pt": frozenset("xy"),
    "attributes": frozenset(("attribute",)),
    "attribute": frozenset(("name", "value")),
}
"""What is known in each element, which programs may write in capitals."""


def is_voc(path: str, head: bytes) -> bool:
    """Whether a file can be one."""
    is_xml = path.lower().endswith(".xml") or (is_bare(path) and without_mark(head).lstrip()[:1] == b"<")
    return is_xml and _ROOT.search(head) is not None


def read(files: LabelFiles, images: Images) -> Labels:
    """Read all XML files; of those that say which image they mean, and of others the image of their own name."""
    labels = Labels("voc", list(images.labelled_by(files, ".xml", is_voc)))
    labels.files += [path for path in files.bare() if is_voc(path, files.head(path))]  # as of Stanford Dogs
    claims, calling = Claims(), images.calling_of(labels.files)
    roots: dict[str, Element] = {}
    for path in labels.files:
        try:
            roots[path] = _root(files, path)
        except LabelError as error:
            labels.complain("label", path, str(error))
            continue
        try:
            found = _found(images, path, roots[path], calling)
        except LabelError as error:
            labels.complain("label-image", path, str(error))
            continue
        claims.add(path, found)
        if found.instead:
            labels.note(path, f"is taken for {found.path}, which is called like it: there is no {found.instead}")
    owners = claims.settled(files, labels, images)
    splits = _splits(files, labels, images)
    for image, path in owners.items():
        labels.pictures.append(_picture(image, path, roots[path], splits.get(image, "")))
    labels.pictures += [
        Picture(path, splits.get(path, ""), path, lambda *_: (), is_labelled=False)
        for path in images.paths
        if path not in owners and not is_mask_of_voc(path)
    ]
    for picture in labels.pictures if splits else ():
        picture.is_listed = picture.path in splits
    return labels


def _found(images: Images, path: str, root: Element, calling: str) -> Found:
    """The image of a file: where it says a folder that has images, by ``<path>`` or ``<folder>``, one in that."""
    name = root.text_of("filename")
    if other := next((one.text.strip() for one in root.all("filename") if one.text.strip() != name), ""):
        raise MissingError(f"has two <filename>, {name!r} and {other!r}, so it can't be told which image it's of")
    said = root.text_of("path").replace("\\", "/")
    folder = basename(dirname(said)) if "/" in said else basename(root.text_of("folder"))
    try:
        found = images.of_file(path, name, calling)
    except UnclearError as error:
        own = [one for one in error.paths if basename(dirname(one)) == folder]
        if len(own) != 1:
            raise
        return Found(own[0], exact=False, said=name)
    if found.exact or images.may_lie_in(found.path, folder):
        return found
    raise MissingError(
        f"there is no image {name or found.said} in {folder}, where it says; {found.path} lies elsewhere"
    )


def _root(files: LabelFiles, path: str) -> Element:
    root = read_xml(files.read(path))
    if root.name.lower() == "annotation":
        root.name = root.name.lower()
        _in_small_letters(root)
    if root.name != "annotation":
        raise LabelError(f"line {root.line}: begins with <{root.name}>, not <annotation>")
    return root


def _in_small_letters(element: Element) -> None:
    """Have what is known called as it's known: ``<Object>``, ``<bndBox>``; of two that differ so, both stay."""
    known = _TAGS.get(element.name, frozenset())
    there = {child.name for child in element.children}
    for child in element.children:
        name = child.name.lower()
        if name in known and (name not in there or name in _MANY):
            child.name = name
        _in_small_letters(child)


def _picture(image: str, path: str, root: Element, split: str) -> Picture:
    kept: dict[str, Any] = {"segmented": root.text_of("segmented")}
    if kept["segmented"] in ("", "0"):
        kept = {}
    fields = _leaves([child for child in root.children if child.name not in _OF_IMAGES], "/")
    size = root.first("size")
    if size is not None and (depth := size.text_of("depth", "3")) != "3":
        fields["size/depth"] = depth
    if fields:
        kept["fields"] = fields
    reader = _Reader(path, root)
    return Picture(image, split, path, reader, _size(root), kept=kept, attributes=reader.attributes)


def _size(root: Element) -> Size | None:
    size = root.first("size")
    return None if size is None else stated(size.text_of("width"), size.text_of("height"))


def _leaves(elements: Iterable[Element], between: str, above: str = "") -> dict[str, str]:
    """Texts of elements and of all in them, by their path; those of one path have ``_`` behind it."""
    found: dict[str, str] = {}
    for element in elements:
        name = f"{above}{element.name}"
        texts = {name: element.text.strip()} | _leaves(element.children, between, name + between)
        for key, text in texts.items():
            while key in found:
                key += "_"  # noqa: PLW2901
            if text:
                found[key] = text
    return found


def _splits(files: LabelFiles, labels: Labels, images: Images) -> dict[str, str]:
    """Image -> its split, by the lists of each ``ImageSets``; train and val count before trainval."""
    lists = Lists(files, images, labels)
    for tree, sets in sorted(image_sets(files).items()):
        near = join(tree, "JPEGImages")
        near = near if images.holds(near) else tree
        _read_sets(files, images, lists, sets, near)
    for one in plain_lists(files, images) if not lists.splits else ():
        name = splitext(basename(one.path))[0]
        lists.read(one.path, name, one.near, whole=is_whole(name), stems=True)
    lists.settle()
    return lists.splits


def _read_sets(files: LabelFiles, images: Images, lists: Lists, sets: dict[str, dict[str, str]], near: str) -> None:
    """Read the lists of one ``ImageSets``: those of the first folder that has some but of classes."""
    of_classes: dict[str, set[str]] = {}
    for folder in sorted(sets, key=lambda one: (SETS.index(one) if one in SETS else len(SETS), one)):
        chosen = sets[folder]
        of_classes |= {path: names for path in chosen.values() if (names := _in_list_of_class(files, path, images))}
        used = [name for name in sorted(chosen, key=list_order) if chosen[name] not in of_classes]
        unions = together({name: _lines(files, chosen[name]) for name in used})
        for name in sorted(used, key=lambda one: one in unions):
            split = "" if name.lower() == NO_SPLIT else without_task(name, folder)
            lists.read(chosen[name], split, near, whole=is_whole(name) or name in unions, stems=True)
        if used or of_classes:
            break
    for path, names in sorted(of_classes.items()):
        lists.name_lost(path, names, near)


def _lines(files: LabelFiles, path: str) -> set[str]:
    try:
        return set(filter(None, map(str.strip, lines_of(files.text(path)))))
    except LabelError:
        return set()  # who reads it says so


def _in_list_of_class(files: LabelFiles, path: str, images: Images) -> set[str]:
    """The images of a list that says of each whether a class is in it; empty: it's another one.

    An image may be called ``photo 1``: a list whose whole lines name as many images as their first words is one of
    images.
    """
    lines = _lines(files, path)
    found = of_class(path, lines)
    whole = sum(1 for line in lines if images.called_so(line))
    return set() if whole and whole >= sum(1 for name in found if images.called_so(name)) else set(found)


class _Reader:
    __slots__ = ("_path", "_root")

    def __init__(self, path: str, root: Element) -> None:
        self._path, self._root = path, root

    def attributes(self) -> Iterator[dict[str, Any]]:
        """Of all objects."""
        return (_attributes(element) for element in _objects(self._root))

    def __call__(self, width: int, height: int, complain: Complain) -> Iterator[Thing]:
        deleted = 0
        for line, text in _unread(self._root):
            complain("label", f"{self._path}, line {line}: {text}")
        for element in _objects(self._root):
            if element.text_of("deleted").lower() in ("1", "true"):
                deleted += 1
                continue
            try:
                yield _thing(element)
            except LabelError as error:
                complain("label", f"{self._path}, line {element.line}: {error}")
            for code, line, text in _twice(element):
                complain(code, f"{self._path}, line {line}: {text}")
            for part in element.all("part"):
                text = f"a part ({part.text_of('name')!r}) of an object isn't taken"
                complain("label", f"{self._path}, line {part.line}: {text}")
        if deleted:
            count = counted(deleted, "object that it calls deleted isn't", "objects that it calls deleted aren't")
            complain("label-note", f"{self._path}: {count} taken")


def _objects(root: Element) -> Iterator[Element]:
    """All objects; some programs have them in ``<objects>``."""
    yield from root.all("object")
    for one in root.all("objects"):
        yield from one.all("object")


def _unread(root: Element) -> Iterator[tuple[int, str]]:
    """What isn't taken of a file: a second size, and objects that stand elsewhere; each with its line."""
    first = root.first("size")
    for size in root.all("size"):
        if first is not None and _texts(size) != _texts(first):
            yield size.line, "is the second <size> of the image, of which the first was taken"
    todo = [child for child in root.children if child.name not in ("object", "objects")]
    todo += [child for one in root.all("objects") for child in one.children if child.name != "object"]
    while todo:
        element = todo.pop()
        if element.name.lower() == "object" and any(child.name.lower() in _SHAPES for child in element.children):
            yield element.line, "an <object> stands elsewhere than in <annotation> or its <objects>: it isn't taken"
        todo += element.children


def _texts(element: Element) -> list[tuple[str, str, Any]]:
    """All that an element says, to compare it."""
    return [(child.name, child.text.strip(), _texts(child)) for child in element.children]


def _twice(element: Element) -> Iterator[tuple[str, int, str]]:
    """What an object has a second time, where one can be taken only: code, line and text of a problem."""
    for name in (*_ONCE, *_ONE_SAYS):
        found = list(element.all(name))
        for one in found[1:]:
            if name in _ONCE or (one.text.strip(), _texts(one)) != (found[0].text.strip(), _texts(found[0])):
                yield "label", one.line, f"is the second <{name}> of an object, of which the first was taken"
    for shape in ("bndbox", "robndbox"):
        for side in _SIDES:
            found = list(box.all(side)) if (box := element.first(shape)) is not None else []
            if other := next((one for one in found if one.text.strip() != found[0].text.strip()), None):
                yield "label", other.line, f"is the second <{side}> of a box, of which the first was taken"
    values: dict[str, str] = {}
    given = element.first("attributes")
    for one in given.all("attribute") if given is not None else ():
        name, value = one.text_of("name"), one.text_of("value")
        if name and values.setdefault(name, value) != value:
            text = f"an attribute {name!r} is there with another value: both are kept, this one as {name + '_'!r}"
            yield "label-note", one.line, text


def _thing(element: Element) -> Thing:
    label = element.text_of("name")
    if not label:
        raise LabelError("has no <name>")
    return Thing(label, [_shape(element)], attributes=_attributes(element))


def _given(given: Element | None) -> dict[str, Any]:
    """The attributes of an object; of two values of one name, the second has ``_`` behind the name."""
    found: dict[str, Any] = {}
    for one in given.all("attribute") if given is not None else ():
        name, value = one.text_of("name"), one.text_of("value")
        while name and found.get(name, value) != value:
            name += "_"
        if name:
            found[name] = value
    return found


def _attributes(element: Element) -> dict[str, Any]:
    given = element.first("attributes")
    found = _given(given)
    for flag in FLAGS:
        text = element.text_of(flag).lower()
        if text in ("1", "true", "yes"):
            add_flag(found, flag)
        elif text not in ("", "0", "false", "no", "unspecified"):
            found[f"{flag}_" if flag in found else flag] = text
    if (pose := element.text_of("pose", "Unspecified")) not in ("", "Unspecified"):
        found["pose_" if "pose" in found else "pose"] = pose
    if given is not None and (text := given.text.strip()):  # LabelMe's XML has one text
        found["attributes_" if "attributes" in found else "attributes"] = text
    others = (child for child in element.children if child.name not in _OF_OBJECTS)
    for name, text in _leaves(others, ".").items():
        while name in found:
            name += "_"  # noqa: PLW2901
        found[name] = text
    return found


def _shape(element: Element) -> Box | Polygon:
    polygon, turned = element.first("polygon"), element.first("robndbox")
    if polygon is not None and (outline := _outline(polygon)) is not None:
        return outline
    if turned is not None:
        x, y, width, height, angle = (number(turned.text_of(key), key) for key in ("cx", "cy", "w", "h", "angle"))
        if width < 0 or height < 0:
            raise LabelError(f"has a width or height below nothing: {width:g} × {height:g}")
        return turned_box(Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2), degrees(angle))
    box = element.first("bndbox")
    if box is None:
        raise LabelError("has no <bndbox>")
    left, top, right, bottom = (number(box.text_of(side), side) for side in ("xmin", "ymin", "xmax", "ymax"))
    if left > right or top > bottom:
        raise LabelError(f"its box ends before it begins: {left:g}, {top:g} – {right:g}, {bottom:g}")
    return Box(left, top, right, bottom)


def _outline(polygon: Element) -> Polygon | None:
    """As LabelMe and some others have it: ``<pt>`` with x and y, or ``<x1>``, ``<y1>`` and so on."""
    points = [(number(pt.text_of("x"), "x"), number(pt.text_of("y"), "y")) for pt in polygon.all("pt")]
    if not points:
        texts = {child.name: child.text.strip() for child in polygon.children}
        count = 1
        while f"x{count}" in texts and f"y{count}" in texts:
            points.append((number(texts[f"x{count}"], "x"), number(texts[f"y{count}"], "y")))
            count += 1
    return Polygon(tuple(points)) if len(points) > 2 else None
