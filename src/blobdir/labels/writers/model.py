"""What all writers are told of a project, and how they say what they can't write.

Each part of an object is in the result, or it's said that it isn't: a box that stands for other parts of it, as for
keypoints in it, is said by `Plan.box_of` with all of them, whatever shape it goes around.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from posixpath import splitext
from typing import TYPE_CHECKING, Any, Final

from blobdir.labels.model import Box, LabelError, Mask, Polygon, around, kind_name
from blobdir.labels.splitnames import is_split, kind_of_split
from blobdir.labels.supervisely import KEPT, in_whole_pixels, kind_of_object, shapes_of
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from blobdir.labels.model import Pose, Shape
    from blobdir.labels.supervisely import Kind

Write = Callable[[str, bytes], None]
"""Called with the path of a label file, and its content."""
Complain = Callable[[str, str], None]
"""Called with a path and what of it can't be written."""
Part = tuple[dict[str, Any], str, "Shape"]
"""An object of the annotation, the title of its class, its shape."""
SEVERAL_BOXES: Final = "several boxes"
_ODD: Final = re.compile(r"[^\w .()+-]")
"""What isn't in the names of files and keys that are made of names of datasets."""


@dataclass(slots=True)
class Item:
    """An image of a project.

    Attributes
    ----------
    dataset, name : str
    width, height : int
    objects, tags : list of dict
        As in its annotation.
    info : dict
        Of ``img_info/``; empty where there is none.
    kept : dict
        What blobdir has kept of the label file that it was packed from.
    """

    dataset: str
    name: str
    width: int
    height: int
    objects: list[dict[str, Any]]
    tags: list[dict[str, Any]] = field(default_factory=list)
    info: dict[str, Any] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Bound:
    """One object of an image, which may have several shapes.

    Attributes
    ----------
    name : str
        Of its class, as label files call it.
    parts : list of Part
    """

    name: str
    parts: list[Part]

    @property
    def title(self) -> str:
        """Title of the class of its first part."""
        return self.parts[0][1]

    @property
    def tags(self) -> dict[str, Any]:
        """Of all its parts."""
        return {tag["name"]: tag.get("value") for one, *_ in self.parts for tag in one.get("tags", [])}

    @property
    def framed(self) -> Sequence[Shape]:
        """The shapes that its box goes around: boxes, else outlines and masks, else all."""
        shapes = [shape for *_, shape in self.parts]
        boxes = [shape for shape in shapes if isinstance(shape, Box)]
        return boxes or [shape for shape in shapes if isinstance(shape, (Polygon, Mask))] or shapes


@dataclass(slots=True)
class Plan:
    """How a project is written.

    Attributes
    ----------
    kinds : dict
        Title -> class, in the order of ``meta.json``.
    caption : bool
        Whether its tag ``caption`` is a text.
    sources : dict
        Dataset -> content of its `blobdir.labels.supervisely.SOURCE`.
    exact : bool
        Numbers, names, splits as they are in the project, not as the SDK writes them.
    task : str
        Of YOLO: ``detect``, ``segment``, ``pose``; empty: what there is.
    val : frozenset of str
        Datasets that are for validation; empty: nobody said.
    write : callable
    complain : callable
    boxed : Counter
        Class and kind of shape -> objects that are written as the boxes around them.
    untold : Counter
        What else of images and objects the format has no place for -> how many have it.
    datasets : tuple of str
        Names of all.
    note : callable
        Called with a dataset, and how it's written.
    shapes_used : callable
        Called for the kinds of shapes that objects of all datasets have, as ``graph``; it may stop behind the first
        of one kind that is given. All annotations are read for that, so who can do without doesn't ask.
    why_boxed : str
        Why objects became the boxes around them, and what keeps them from it; empty: the format has nothing else.
    has_splits : bool
        Whether a dataset is called like a split.
    """

    kinds: dict[str, Kind]
    caption: bool
    sources: dict[str, dict[str, Any]]
    exact: bool
    task: str
    val: frozenset[str]
    write: Write
    complain: Complain
    boxed: Counter[tuple[str, str]] = field(default_factory=Counter)
    untold: Counter[tuple[str, str]] = field(default_factory=Counter)
    datasets: tuple[str, ...] = ()
    note: Complain = lambda *_: None
    shapes_used: Callable[[str], Collection[str]] = lambda _: ()
    why_boxed: str = ""
    has_splits: bool = field(init=False)

    def __post_init__(self) -> None:
        self.has_splits = any(map(_kind, self.datasets))

    def split_of(self, dataset: str) -> str:
        """Which of train, val, test a dataset is: by its name. Where none is called so, all are train.

        Empty: others are called so, and this one isn't, so it's of no split.
        """
        return _kind(dataset) or ("" if self.has_splits else "train")

    def note_split(self, dataset: str, place: str) -> None:
        """Say of a dataset that isn't called like a split where its images are."""
        if not self.has_splits:
            self.note(dataset, f"isn't called like a split; its images are in {place}, as train")
        elif not _kind(dataset):
            self.note(dataset, f"isn't called like a split; its images are in {place}, and in none of train, val, test")

    def note_other(self, dataset: str, split: str, place: str) -> None:
        """Say of a dataset that is called like another split than the one that its images are written to."""
        if (kind := _kind(dataset)) and kind != split:
            self.note(dataset, f"is called like a split ({kind}), and its images are in {place}")

    def note_name(self, dataset: str, name: str) -> None:
        """Say what a dataset is called, if it can't be called as it is."""
        if self.exact and name != dataset:
            self.note(dataset, f"is called {name} there")

    def seen(self, item: Item, name: str) -> str:
        """What an image is called so that it isn't hidden; said if that isn't its name."""
        found = seen_name(name) if self.exact else name
        if found != name:
            self.note(f"{item.dataset}/{item.name}", f"is called {found} there: hidden files aren't packed")
        return found

    def shapes(self, item: Item) -> Iterator[tuple[dict[str, Any], str, list[Shape]]]:
        """Objects that can be read, each with its class and shapes; the others are named."""
        for number, one in enumerate(item.objects):
            title = one["classTitle"]
            try:
                known = self.kinds.get(title)
                if known is None:
                    raise LabelError("is of a class that meta.json doesn't have")
                shapes = shapes_of(one, kind_of_object(one, self.kinds), known)
                yield one, title, shapes if self.exact else [*map(in_whole_pixels, shapes)]
            except LabelError as error:
                self.complain(f"{item.dataset}/{item.name}", f"object {number} ({title!r}) {error}")

    def file_of(self, dataset: str, kind: str) -> dict[str, Any]:
        """What the label file of a dataset said of itself, if it was of this format."""
        source = self.sources.get(dataset, {})
        found = source.get("file") if source.get("format") == kind else None
        return found if isinstance(found, dict) else {}

    def category(self, title: str, dataset: str) -> str:
        """What label files call a class."""
        given = self.sources.get(dataset, {}).get("classes")
        name = given.get(title, title) if isinstance(given, dict) else title
        return name if isinstance(name, str) else title

    def box_of(self, parts: Sequence[Part], framed: Sequence[Shape]) -> Box | None:
        """The box of an object, for a format that has no others.

        Parameters
        ----------
        parts : sequence of Part
            All that it stands for: they are counted, but for a box that is alone.
        framed : sequence of Shape
            Those that it goes around.
        """
        box = around(framed)
        if box is not None:
            self.boxed.update({(title, kind_name(shape)) for _, title, shape in parts if not isinstance(shape, Box)})
            self.one_box(parts)
        return box

    def one_box(self, parts: Sequence[Part]) -> None:
        """Count an object with several boxes, which become one."""
        boxes = [title for _, title, shape in parts if isinstance(shape, Box)]
        self.boxed.update([(title, SEVERAL_BOXES) for title in boxes[:1] if len(boxes) > 1])

    def in_pieces(self, item: Item, name: str, count: int, where: str) -> None:
        """Say of an object that its parts are objects of their own in a format."""
        if count > 1:
            self.lost(item, name, f"is in {count} pieces, which are objects of their own in {where}")

    def unbind(self, item: Item, *, all_of: bool) -> None:
        """Count objects of groups that aren't written as such.

        Parameters
        ----------
        item : Item
        all_of : bool
            All groups; else those of objects with different classes.
        """
        groups: dict[str, list[str]] = {}
        for one in item.objects:
            if isinstance(key := one.get("instance"), str):
                groups.setdefault(key, []).append(one["classTitle"])
        for titles in groups.values():
            names = titles if all_of else {self.category(title, item.dataset) for title in titles}
            self.untold.update([("part of a group", title) for title in titles if len(names) > 1])

    def see_all(self, title: str, pose: Pose) -> None:
        """Count keypoints that are hidden, for what can't say so."""
        if hidden := sum(not seen for *_, seen in pose.points.values()):
            self.untold["keypoint that is hidden", title] += hidden

    def bound(self, item: Item) -> Iterator[Bound]:
        """Objects that can be read, those with the same key and class as one."""
        groups: dict[Any, Bound] = {}
        for number, (one, title, shapes) in enumerate(self.shapes(item)):
            key = one.get("instance")
            name = self.category(title, item.dataset)
            mine = groups.setdefault((key, name) if isinstance(key, str) else number, Bound(name, []))
            mine.parts += [(one, title, shape) for shape in shapes]
        yield from groups.values()

    def without_tags(self, item: Item, *, of_objects: Collection[str] | None, of_images: Collection[str] = ()) -> None:
        """Count the tags of an image and of its objects that aren't written.

        Parameters
        ----------
        item : Item
        of_objects : collection of str or None
            Those that are; None: all.
        of_images : collection of str
        """
        for tag in item.tags:
            if tag["name"] not in of_images:
                self.untold["tag of an image", tag["name"]] += 1
        for one in item.objects:
            for tag in one.get("tags", []) if of_objects is not None else ():
                if tag["name"] not in (of_objects or ()):
                    self.untold["tag of an object", tag["name"]] += 1
            if one.get("description"):
                self.untold["description of an object", one["classTitle"]] += 1

    def lost(self, item: Item, title: str, what: str) -> None:
        """Say that an object, or a part of it, isn't in the result."""
        self.complain(f"{item.dataset}/{item.name}", f"an object {title!r} {what}")


class Writer(ABC):
    """Writes the labels of a project, dataset by dataset."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._renamed: list[tuple[str, str]] = []

    def note_renamed(self, item: Item, wanted: str, name: str) -> None:
        """Note what an image is called, where another one has the name that it would have."""
        if name != wanted:
            self._renamed.append((item.name, name))

    def say_renamed(self, dataset: str) -> None:
        """Say how many images of a dataset are called otherwise, as others have their names."""
        if self._renamed:
            name, there = self._renamed[0]
            count = counted(len(self._renamed), "image has", "images have")
            self.plan.note(dataset, f"{count} another name there, since others have theirs: {name} is {there}")
        self._renamed = []

    @abstractmethod
    def begin(self, dataset: str) -> None:
        """Begin a dataset."""

    @abstractmethod
    def add(self, item: Item) -> str:
        """Take an image; gives the path where it goes."""

    @abstractmethod
    def end(self) -> None:
        """End the dataset."""

    @abstractmethod
    def finish(self) -> None:
        """End all."""


def _kind(dataset: str) -> str:
    """The split that a dataset is, by its name, or by that of one that it lies in; ``trainval`` is for training."""
    parts = reversed(dataset.split("/"))
    return next((kind for part in parts if (kind := kind_of_split(part) or ("train" if is_split(part) else ""))), "")


def plain_name(dataset: str) -> str:
    """The name of a dataset as that of a file or key."""
    name = seen_name(_ODD.sub("_", dataset))
    return f"{name}_" if name.lower().endswith((".txt", "_labels")) else name


def seen_name(name: str) -> str:
    """A name, or a path, that isn't of something hidden: `pack` takes no notice of that."""
    return "/".join(f"_{part[1:]}" if part.startswith(".") else part for part in name.split("/"))


def kept_of_format(kept: dict[str, Any], part: str, kind: str) -> dict[str, Any]:
    """A part of what was kept of an image's label file, ``image`` or ``objects``, if that was of this format."""
    found = kept.get(part) if kept.get("format") == kind else None
    return found if isinstance(found, dict) else {}


def free_name(used: set[str], name: str, *, extension: bool = False) -> str:
    """A name that isn't used, and is from now on: the SDK's way."""
    stem, kind = splitext(name) if extension else (name, "")
    found, number = name, 1
    while found in used:
        found = f"{stem}_{number:02d}{kind}"
        number += 1
    used.add(found)
    return found


def free_stem(used: set[str], name: str) -> str:
    """The name of a file whose stem isn't used by another one, and is from now on; its extension stays."""
    stem, kind = splitext(name)
    return free_name(used, stem) + kind


def kept_of(meta: dict[str, Any]) -> dict[str, Any]:
    """What `KEPT` of an image's ``meta/<image>.json`` holds."""
    found = meta.get(KEPT)
    return found if isinstance(found, dict) else {}
