"""Pascal VOC: ``VOCdevkit/VOC`` with ``Annotations``, ``JPEGImages``, ``ImageSets``, ``colors.txt``, as the SDK's."""

from __future__ import annotations

import re
from posixpath import splitext
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET  # only writes

from blobdir.labels.files import lines_of
from blobdir.labels.formats.voc import FLAGS
from blobdir.labels.model import Box, Mask, Polygon
from blobdir.labels.namesakes import known_as
from blobdir.labels.splitnames import is_whole
from blobdir.labels.writers.model import Writer, free_name, kept_of_format, plain_name

if TYPE_CHECKING:
    from blobdir.labels.model import Shape
from blobdir.labels.writers.model import Item, Plan

ROOT: Final = "VOCdevkit/VOC"
_NEUTRAL: Final = "neutral"
_NEUTRAL_COLOR: Final = "224 224 192"
_SHARE_OF_TRAIN: Final = 0.8
_FIELDS: Final[dict[str, Any]] = {
    "folder": "VOC",
    "source/database": "",
    "source/annotation": "PASCAL VOC",
    "source/image": "",
    "size/depth": "3",
}
"""What the SDK says of each image."""
_LONGEST: Final = 255 - len("_trainval.txt")
_NOT_OF_XML: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NAME: Final = re.compile(r"[A-Za-z_][\w.-]*")


class VocWriter(Writer):
    """Writes Pascal VOC."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self._used: set[str] = set()
        self._used_alike: set[str] = set()
        self._whole: set[str] = set()
        self._sets: dict[str, list[tuple[str, set[str]]]] = {}
        self._names = {"default"}  # a list that makes no split
        self._kinds: dict[str, list[str]] = {}
        self._colors: set[str] = set()
        self._cut: set[str] = set()

    def begin(self, dataset: str) -> None:
        """Begin a dataset."""
        self._dataset = dataset
        self._images: list[tuple[str, set[str]]] = []
        is_told = self.plan.exact and (self.plan.has_splits or len(self.plan.sources) == 1)
        self._prefix = "" if is_told else f"{dataset}_".replace("/", "_")

    def add(self, item: Item) -> str:
        """Take an image."""
        stem, kind = splitext(self.plan.seen(item, f"{self._prefix}{item.name.replace('/', '_')}"))
        if self.plan.exact:
            stem = self._free_stem(item, stem, kind)
        else:
            found = free_name(self._used, stem)
            self.note_renamed(item, f"{stem}{kind}", f"{found}{kind}")
            stem = found
        is_line = not self.plan.exact or (stem == stem.strip() and len(lines_of(stem)) == 1)
        if not is_line:
            text = "has a name that can't be a line of a list, so none says which split it's of"
            self.plan.complain(f"{item.dataset}/{item.name}", text)
        root, classes = self._annotation(item, stem + kind if self.plan.exact else stem)
        ET.indent(root, space="    ")
        text = ET.tostring(root, "us-ascii", xml_declaration=False, short_empty_elements=False)
        self.plan.write(f"{ROOT}/Annotations/{stem}.xml", text + b"\n")
        if is_line:
            self._images.append((stem if self.plan.exact else stem + kind, classes))
        self._colors |= classes
        return f"{ROOT}/JPEGImages/{stem}{kind}"

    def _free_stem(self, item: Item, stem: str, kind: str) -> str:
        """A stem of its own, which can't be read as the name of another image either: ``0.jpg`` of ``0.jpg.jpg``.

        `pack` takes extensions in capitals and in small letters for the same.
        """
        found, number = stem, 1
        while found in self._used or known_as(found) in self._whole or known_as(f"{found}{kind}") in self._used_alike:
            found = f"{stem}_{number:02d}"
            number += 1
        if found != stem and stem not in self._used:
            self.plan.note(f"{item.dataset}/{item.name}", f"is called {found}{kind} there: lists have no extensions")
        else:
            self.note_renamed(item, f"{stem}{kind}", f"{found}{kind}")
        self._used.add(found)
        self._used_alike.add(known_as(found))
        self._whole.add(known_as(f"{found}{kind}"))
        return found

    def end(self) -> None:
        """Say which split the images are of, and which are called otherwise."""
        self.say_renamed(self._dataset)
        if self.plan.exact:
            self._end_as_it_is()
            return
        place = "train and, the last fifth, in val, as the SDK has it; say --style exact"
        self.plan.note_other(self._dataset, "", place)
        count = int(len(self._images) * _SHARE_OF_TRAIN)
        self._sets.setdefault("train", []).extend(self._images[:count])
        self._sets.setdefault("val", []).extend(self._images[count:])
        self._sets.setdefault("trainval", []).extend(self._images)

    def _end_as_it_is(self) -> None:
        """A list with the dataset's name, where datasets are called like splits; else all are in one."""
        name = "train"
        if self.plan.has_splits:
            name = free_name(self._names, plain_name(self._dataset))
            self.plan.note_name(self._dataset, name)
        self.plan.note_split(self._dataset, f"{name}.txt")
        self._sets.setdefault(name, []).extend(self._images)
        if split := self.plan.split_of(self._dataset):
            self._kinds.setdefault(split, []).append(name)

    def _with_usual_lists(self) -> dict[str, list[tuple[str, set[str]]]]:
        """The lists of datasets, and those that programs ask for, where no dataset is called so."""
        found = dict(self._sets)
        for split, names in self._kinds.items():
            parts = [name for name in names if not is_whole(name)]
            if split not in found and parts:
                found[split] = [one for name in parts for one in self._sets[name]]
            elif more := [name for name in parts if name != split]:
                for name in more if split in self._sets else ():
                    self.plan.note(name, f"is in {name}.txt, and not in {split}.txt")
        both = [name for split in ("train", "val") for name in dict.fromkeys(self._kinds.get(split, ()))]
        found["trainval"] = [one for name in both for one in self._sets[name]]
        return found

    def finish(self) -> None:
        """Write the lists of splits, of images with each class, and the colours."""
        if self.plan.exact:
            self._sets = self._with_usual_lists()
        for split, images in self._sets.items():
            names = "".join(f"{name}\n" for name, _ in images).encode()
            self.plan.write(f"{ROOT}/ImageSets/Main/{split}.txt", names)
            self.plan.write(f"{ROOT}/ImageSets/Segmentation/{split}.txt", names)
            for title, kind in self.plan.kinds.items():
                if kind.shape not in ("rectangle", "polygon", "bitmap") and not (
                    self.plan.exact and kind.shape == "any"
                ):
                    continue
                if title == _NEUTRAL or not _can_be_a_name(title) or self.plan.exact:
                    continue
                rows = "".join(f"{name} {'1' if title in classes else '-1'}\n" for name, classes in images)
                self.plan.write(f"{ROOT}/ImageSets/Main/{title}_{split}.txt", rows.encode())
        lines = [f"{_NEUTRAL} {_NEUTRAL_COLOR}"]
        for title in sorted(self._colors - {_NEUTRAL}):
            text = self.plan.kinds[title].color.removeprefix("#")
            lines.append(f"{title} {' '.join(str(one) for one in _rgb(text))}")
        self.plan.write(f"{ROOT}/colors.txt", "".join(f"{line}\n" for line in lines).encode())

    def _annotation(self, item: Item, filename: str) -> tuple[ET.Element, set[str]]:
        given = kept_of_format(item.kept, "image", "voc").get("fields") if self.plan.exact else None
        fields = _FIELDS | (given if isinstance(given, dict) else {})
        root = ET.Element("annotation")
        _child(root, "folder", _text(fields.pop("folder")))
        if not _NOT_OF_XML.search(filename):  # else it's known by the name of its file
            _child(root, "filename", filename)
        size = _text(fields.pop("size/depth"))
        for name, text in fields.items():
            self._field(root, str(name).split("/"), _text(text), item)
        element = _child(root, "size")
        for name, text in (("width", str(item.width)), ("height", str(item.height)), ("depth", size)):
            _child(element, name, text)
        _child(root, "segmented", self._segmented(item))
        self.plan.without_tags(item, of_objects=None if self.plan.exact else ())
        self.plan.unbind(item, all_of=not self.plan.exact)
        if not self.plan.exact:
            classes = set()
            for one, title, shapes in self.plan.shapes(item):
                classes.add(title)
                self.plan.in_pieces(item, title, len(shapes), "Pascal VOC")
                if title == _NEUTRAL:
                    self.plan.lost(item, title, "is what the SDK takes for nothing; say --style exact")
                for shape in shapes if title != _NEUTRAL else ():
                    if (box := self.plan.box_of([(one, title, shape)], [shape])) is not None:
                        box = _as_the_sdk(box, shape)
                    self._object(root, title, title, box, {}, item)
            return root, classes
        things = list(self.plan.bound(item))
        for thing in things:
            box = self.plan.box_of(thing.parts, thing.framed)
            self._object(root, thing.title, thing.name, box, thing.tags, item)
        return root, {title for thing in things for _, title, _ in thing.parts}

    def _field(self, root: ET.Element, path: list[str], text: str, item: Item) -> None:
        """What else was said of an image."""
        if not all(map(_NAME.fullmatch, path)) or _NOT_OF_XML.search(text):
            self.plan.complain(f"{item.dataset}/{item.name}", f"its field {'/'.join(path)!r} can't be written as XML")
            return
        *above, last = path
        for name in above:
            found = root.find(name)
            root = _child(root, name) if found is None else found
        _child(root, last, text)

    def _segmented(self, item: Item) -> str:
        if not self.plan.exact:
            return "1" if item.objects else "0"
        known = kept_of_format(item.kept, "image", "voc").get("segmented")
        return known if isinstance(known, str) else "0"

    def _object(
        self, root: ET.Element, title: str, name: str, box: Box | None, tags: dict[str, Any], item: Item
    ) -> None:
        if box is None or _NOT_OF_XML.search(name):
            self.plan.lost(item, title, "has a name with characters that XML doesn't have" if box else "has no points")
            return
        if self.plan.exact and name != name.strip():
            self._say_cut(item, title, name)
        element = _child(root, "object")
        _child(element, "name", name)
        _child(element, "pose", str(tags.pop("pose", "Unspecified")))
        is_set = {flag for flag in FLAGS if tags.get(flag, 0) in (None, "")}  # "" where others have a text
        for flag in FLAGS[: 3 if "occluded" in is_set else 2]:
            _child(element, flag, str(int(flag in is_set)))
        tags = {label: value for label, value in tags.items() if label not in is_set}
        sides = _child(element, "bndbox")
        for side, value in zip(
            ("xmin", "ymin", "xmax", "ymax"), (box.left, box.top, box.right, box.bottom), strict=True
        ):
            _child(sides, side, str(value))
        self._attributes(element, tags, item, title)

    def _say_cut(self, item: Item, title: str, name: str) -> None:
        """Say what a class is read as, whose name has spaces at its ends: another one may be called so."""
        short = name.strip()
        if not short or any(short == self.plan.category(one, item.dataset) for one in self.plan.kinds):
            self.plan.lost(item, title, f"is read as one of the class {short!r}: spaces at the ends of names are cut")
        elif name not in self._cut:
            self._cut.add(name)
            self.plan.note(title, f"is read as {short!r}: spaces at the ends of names are cut")

    def _attributes(self, element: ET.Element, tags: dict[str, Any], item: Item, title: str) -> None:
        """Tags as CVAT writes them."""
        if not tags:
            return
        attributes = _child(element, "attributes")
        for name, value in tags.items():
            text = "" if value is None else str(value)
            if _NOT_OF_XML.search(name + text):
                self.plan.lost(item, title, f"has the tag {name!r} with characters that XML doesn't have")
                continue
            if self.plan.exact and (name, text) != (name.strip(), text.strip()):
                what = f"an object {title!r} has the tag {name!r}, {text!r}"
                self.plan.note(f"{item.dataset}/{item.name}", f"{what}: spaces at its ends are cut where it's read")
            attribute = _child(attributes, "attribute")
            _child(attribute, "name", name)
            _child(attribute, "value", text)


def _can_be_a_name(title: str) -> bool:
    """Whether there can be a file that is called like a class, with its split behind it."""
    return "/" not in title and "\0" not in title and len(title.encode("utf-8", "replace")) <= _LONGEST


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _child(parent: ET.Element, name: str, text: str | None = None) -> ET.Element:
    element = ET.SubElement(parent, name)
    element.text = text
    return element


def _as_the_sdk(box: Box, shape: Shape) -> Box:
    if isinstance(shape, Mask):
        return Box(box.left, box.top, box.right - 1, box.bottom - 1)
    if isinstance(shape, Polygon):
        return Box(round(box.left), round(box.top), round(box.right), round(box.bottom))
    return box


def _rgb(text: str) -> list[int]:
    try:
        return list(bytes.fromhex(text)) if len(text) == 6 else [0, 0, 0]
    except ValueError:
        return [0, 0, 0]
