"""YOLO: ``images/<split>``, ``labels/<split>``, and the names of the classes in ``data_config.yaml``, as the SDK's."""

from __future__ import annotations

from posixpath import splitext
from typing import TYPE_CHECKING, Any, Final

from blobdir.labels.model import Box, Dot, Mask, Polygon, Pose, around, bounds, kind_name
from blobdir.labels.outlines import outlines
from blobdir.labels.splitnames import is_split, kind_of_split
from blobdir.labels.writers.model import Writer, free_name, free_stem, plain_name
from blobdir.labels.yamlfile import write_yaml
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from blobdir.labels.model import Shape
    from blobdir.labels.supervisely import Kind
    from blobdir.labels.writers.model import Part
from blobdir.labels.writers.model import Bound, Item, Plan

CONFIG: Final = "data_config.yaml"
_ASKED: Final = ("train", "val")
_KEYS: Final = ("path", "names", "nc", "colors", "kpt_shape", "flip_idx", "kpt_names", "download")
_WHY_BOXED: Final = (
    "since others have keypoints, and an outline among lines with keypoints would be read as such; with --task segment "
    "it's written, and keypoints aren't"
)
_LEAST_OUTLINE: Final = 3
_DIGITS: Final = 9
_ALWAYS: Final = 6


class YoloWriter(Writer):
    """Writes YOLO."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self._used: dict[str, set[str]] = {}
        self._by_dataset = plan.exact and not plan.val
        self._folders: dict[str, str] = {}
        more = (plan.file_of(dataset, "yolo").get("config") for dataset in plan.sources)
        kept = {key for one in more if isinstance(one, dict) for key in one}
        self._taken = {*_KEYS, *(kept - set(plan.datasets))}
        self._names = _names(plan)
        self._numbers = {name: number for number, name in reversed(list(enumerate(self._names)))}
        graphs = [kind for kind in plan.kinds.values() if kind.shape == "graph"]
        self._keypoints = max((len(kind.keypoints) for kind in graphs), default=0)
        self._kinds: dict[str, Kind] | None = None
        self._kept = ("confidence",) if plan.exact else ()
        self._task = plan.task or ("" if plan.exact else "detect")
        if not self._task and self._keypoints and not self._has_poses():
            self._keypoints = 0
        if not self._task and self._keypoints:
            plan.why_boxed = _WHY_BOXED

    def _has_poses(self) -> bool:
        """Whether lines have places for keypoints: as an object has some, or as in the file that all came from.

        All datasets have one config, which says of all their lines how many keypoints there are; an outline among such
        would be read as a box with keypoints. So a class that could have some costs no object its outline.
        """
        used = self.plan.shapes_used("graph")
        said = any(self.plan.file_of(dataset, "yolo").get("kpt_shape") for dataset in self.plan.sources)
        return "graph" in used or (said and {*used} <= {"rectangle"})

    def begin(self, dataset: str) -> None:
        """Begin a dataset: it has a folder and a key; the SDK has two for all, as who says which is for validation."""
        self._dataset = dataset
        if self._by_dataset:
            self._folder, self._prefix = free_name(self._taken, plain_name(dataset)), ""
            self._folders[self._folder] = self.plan.split_of(dataset)
            self.plan.note_name(dataset, self._folder)
            self.plan.note_split(dataset, f"images/{self._folder}")
            return
        short = dataset.rpartition("/")[2]
        self._folder = ("val" if dataset in self.plan.val else "train") if self.plan.val else ""
        place = self._folder or "train, but for those with the tag val, as the SDK has it; say --val or --style exact"
        self.plan.note_other(dataset, self._folder or "train", place)
        is_whole = self.plan.exact and is_split(short) and kind_of_split(short) == self._folder
        self._prefix = "" if is_whole or (self.plan.exact and len(self.plan.sources) == 1) else f"{short}_"

    def add(self, item: Item) -> str:
        """Take an image."""
        split = self._folder or ("val" if any(tag["name"] == "val" for tag in item.tags) else "train")
        flat = self.plan.seen(item, item.name.replace("/", "_"))
        name = free_stem(self._used.setdefault(split, set()), f"{self._prefix}{flat}")
        self.note_renamed(item, f"{self._prefix}{flat}", name)
        text = "\n".join(self._lines(item))
        self.plan.write(f"labels/{split}/{splitext(name)[0]}.txt", text.encode())
        return f"images/{split}/{name}"

    def end(self) -> None:
        """Say which images are called otherwise."""
        self.say_renamed(self._dataset)

    def finish(self) -> None:
        """Write the names of the classes."""
        self._note_numbers()
        value: dict[str, Any] = {}
        for split in dict.fromkeys((*_ASKED, *filter(None, self._folders.values()))):
            own = [f"images/{folder}" for folder, kind in self._folders.items() if kind == split]
            value[split] = own if len(own) > 1 else own[0] if own else f"images/{split}"
        for folder in dict.fromkeys((*_ASKED, *self._folders)):
            if value.setdefault(folder, f"images/{folder}") == f"images/{folder}":
                value[f"{folder}_labels"] = f"labels/{folder}"
        value |= {"nc": len(self._names), "names": self._names}
        value["colors"] = [_rgb(self._kind(name)) for name in self._names]
        if self._has_keypoints:
            value["kpt_shape"], value["flip_idx"] = self._shape()
            if self.plan.exact:
                value["kpt_names"] = {
                    number: list(kind.keypoints.values())
                    for name, number in self._numbers.items()
                    if (kind := self._kind(name)) is not None and kind.shape == "graph"
                }
        for dataset in self.plan.sources if self.plan.exact else ():
            more = self.plan.file_of(dataset, "yolo").get("config")
            value = (more if isinstance(more, dict) else {}) | value
        self.plan.write(CONFIG, write_yaml(value))

    def _kind(self, name: str) -> Kind | None:
        if self._kinds is None:
            self._kinds = {}
            for dataset in self.plan.sources or {"": {}}:
                for title, kind in self.plan.kinds.items():
                    self._kinds.setdefault(title, kind)
                    self._kinds.setdefault(self.plan.category(title, dataset), kind)
        return self._kinds.get(name)

    def _note_numbers(self) -> None:
        """Say where classes get other numbers than their files had: there are no gaps between these."""
        for dataset, source in self.plan.sources.items() if self.plan.exact else ():
            given = source.get("categories") if source.get("format") == "yolo" else None
            moved = [
                (name, one["id"], self._numbers[name])
                for one in (given if isinstance(given, list) else ())
                if isinstance(one, dict) and type(one.get("id")) is int and (name := one.get("name")) in self._numbers
                if one["id"] != self._numbers[name]
            ]
            if moved:
                count = counted(len(moved), "class has another number", "classes have other numbers")
                name, before, after = moved[0]
                self.plan.note(dataset, f"{count} than in the files it came from: {name!r} was {before} and is {after}")

    def _shape(self) -> tuple[list[int], Any]:
        """Keypoints and numbers of each, and which are which in a mirror: as in the file that they came from."""
        for dataset in self.plan.sources if self.plan.exact else ():
            kept = self.plan.file_of(dataset, "yolo")
            shape = kept.get("kpt_shape")
            if shape in ([self._keypoints, 2], [self._keypoints, 3]):
                return shape, kept.get("flip_idx") or list(range(self._keypoints))
        return [self._keypoints, 3], list(range(self._keypoints))

    # -- lines -------------------------------------------------------------------------------------------------

    def _lines(self, item: Item) -> Iterator[str]:
        self.plan.without_tags(item, of_objects=self._kept, of_images=() if self._folder else ("val",))
        self.plan.unbind(item, all_of=not self.plan.exact)
        if not item.width or not item.height:
            if item.objects:
                self.plan.complain(
                    f"{item.dataset}/{item.name}", "has objects and no size, so nobody knows where they are"
                )
            return
        if not self.plan.exact:
            for one, title, shapes in self.plan.shapes(item):
                lines = [numbers for shape in shapes for numbers in self._numbers_of(item, one, title, shape)]
                self.plan.in_pieces(item, title, len(lines), "YOLO")
                yield from (f"{self._numbers[title]} {' '.join(numbers)}" for numbers in lines)
            return
        for thing in self.plan.bound(item):
            for numbers in self._object(item, thing):
                yield f"{self._numbers[thing.name]} {' '.join(numbers)}"

    def _object(self, item: Item, thing: Bound) -> Iterator[list[str]]:
        """Lines of one object: one, but for outlines in pieces, which nobody can put into one without changing them."""
        has_poses = any(isinstance(shape, Pose) for *_, shape in thing.parts)
        if self._task == "detect":
            yield from self._box(item, thing.parts, thing.framed, thing.tags)
        elif self._task in ("", "pose") and has_poses:
            yield from self._with_poses(item, thing)
        elif not self._task and self._keypoints:  # an outline has another meaning among lines with keypoints
            yield from self._box(item, thing.parts, thing.framed, thing.tags)
        else:
            lines = [
                numbers for one, title, shape in thing.parts for numbers in self._numbers_of(item, one, title, shape)
            ]
            self.plan.in_pieces(item, thing.name, len(lines), "YOLO")
            yield from lines

    def _with_poses(self, item: Item, thing: Bound) -> Iterator[list[str]]:
        """A line for each set of keypoints; of a single one its box is that of the object, around an outline, too."""
        poses = [(title, shape) for _, title, shape in thing.parts if isinstance(shape, Pose)]
        others = [shape for *_, shape in thing.parts if not isinstance(shape, Pose)]
        frame = None
        self._without_score(thing.tags)
        if len(poses) == 1:
            frame = around(shape for shape in thing.framed if isinstance(shape, (Box, Polygon, Mask)))
            others = [shape for shape in others if not isinstance(shape, Box)]
            self.plan.one_box(thing.parts)
        self.plan.in_pieces(item, thing.name, len(poses), "YOLO")
        for title, pose in poses:
            yield from self._pose(item, title, pose, frame)
        for what in dict.fromkeys(map(kind_name, others)):
            self.plan.lost(item, thing.name, f"has {what} beside its keypoints, and a line of YOLO has one of them")

    def _numbers_of(self, item: Item, one: dict[str, Any], title: str, shape: Shape) -> Iterator[list[str]]:
        task = self._task or _own_task(shape)
        tags = {tag["name"]: tag.get("value") for tag in one.get("tags", [])}
        if task != "detect":
            self._without_score(tags)
        if task == "pose":
            yield from self._pose(item, title, shape, None)
        elif task == "detect":
            yield from self._box(item, [(one, title, shape)], [shape], tags)
        else:
            yield from self._outline(item, title, shape)

    def _box(
        self, item: Item, parts: Sequence[Part], framed: Sequence[Shape], tags: dict[str, Any]
    ) -> Iterator[list[str]]:
        shapes = [shape for shape in framed if not isinstance(shape, Dot)]
        box = self.plan.box_of(parts, shapes)
        if box is None:
            self.plan.lost(item, parts[0][1], "is a point, which has no box")
            return
        numbers = self._center(_whole(box, shapes[0]) if not self.plan.exact else box, item)
        score = tags.get("confidence")
        if self.plan.exact and isinstance(score, (int, float)) and not self._has_keypoints:
            yield [*numbers, f"{score:g}"]
            return
        self._without_score(tags)
        more = self._keypoints * self._shape()[0][1] if self.plan.exact and self._has_keypoints else 0
        yield numbers + ["0"] * more  # all lines have as many numbers

    def _without_score(self, tags: dict[str, Any]) -> None:
        """Count a score that a line has no place for; who writes as the SDK has counted them all."""
        self.plan.untold.update([("tag of an object", name) for name in tags if name in self._kept])

    @property
    def _has_keypoints(self) -> bool:
        return bool(self._keypoints) and self._task in ("pose", "")

    def _center(self, box: Box, item: Item) -> list[str]:
        if self.plan.exact:
            x, y = (box.left + box.right) / 2, (box.top + box.bottom) / 2
            across, down = box.right - box.left, box.bottom - box.top
        else:  # the SDK counts pixels, both ends, and has the middle in whole ones
            x, y = (box.left + box.right) // 2, (box.top + box.bottom) // 2
            across, down = box.right - box.left + 1, box.bottom - box.top + 1
        return [*self._shares([(x, y)], item), *self._shares([(across, down)], item)]

    def _outline(self, item: Item, title: str, shape: Shape) -> Iterator[list[str]]:
        if isinstance(shape, Box) and self.plan.kinds[title].shape == "any":
            corners = (
                (shape.left, shape.top),
                (shape.right, shape.top),
                (shape.right, shape.bottom),
                (shape.left, shape.bottom),
            )
            shape = Polygon(corners)
        if isinstance(shape, Polygon):
            polygons = [shape]
        elif isinstance(shape, Mask):
            polygons = outlines(shape)
        else:
            self.plan.lost(item, title, "has no outline")
            return
        for polygon in polygons:
            if polygon.holes:
                self.plan.lost(item, title, "has holes, which outlines of YOLO haven't")
            if len(polygon.exterior) < _LEAST_OUTLINE:
                self.plan.lost(item, title, f"has an outline of {len(polygon.exterior)} points")
            else:
                yield self._shares(polygon.exterior, item)

    def _pose(self, item: Item, title: str, pose: Shape, frame: Box | None) -> Iterator[list[str]]:
        box = bounds(pose) if frame is None else frame
        if not isinstance(pose, Pose) or box is None:
            self.plan.lost(item, title, "has no keypoints")
            return
        if frame is None and not self.plan.exact:
            box = _whole(box, pose)
        numbers = self._center(box, item)
        size = self._shape()[0][1] if self.plan.exact else 3
        labels = self.plan.kinds[title].keypoints.values()
        if unknown := pose.points.keys() - {*labels}:
            self.plan.lost(item, title, f"has keypoints that its class doesn't have: {', '.join(sorted(unknown))}")
        if size == 2:  # places alone
            self.plan.see_all(title, pose)
        for label in labels:
            x, y, seen = pose.points.get(label, (0, 0, False))
            if label not in pose.points:
                numbers += ["0"] * size
            else:
                numbers += [*self._shares([(x, y)], item), *(["2" if seen else "1"] if size == 3 else [])]
        missing = self._keypoints - len(self.plan.kinds[title].keypoints)
        yield numbers + ["0"] * (size * missing)

    def _shares(self, points: Iterable[tuple[float, float]], item: Item) -> list[str]:
        shares = (share for x, y in points for share in (x / item.width, y / item.height))
        return [_digits(share) if self.plan.exact else f"{share:.6f}" for share in shares]


def _digits(share: float) -> str:
    """Six digits, or as many as it takes up to nine."""
    text = f"{share:.{_DIGITS}f}"
    return text[: _ALWAYS - _DIGITS] + text[_ALWAYS - _DIGITS :].rstrip("0")


def _own_task(shape: Shape) -> str:
    if isinstance(shape, Pose):
        return "pose"
    return "segment" if isinstance(shape, (Polygon, Mask)) else "detect"


def _whole(box: Box, shape: Shape) -> Box:
    """A box around something as the SDK has it."""
    if isinstance(shape, Mask):
        return Box(box.left, box.top, box.right - 1, box.bottom - 1)
    if isinstance(shape, Polygon):
        return Box(round(box.left), round(box.top), round(box.right), round(box.bottom))
    return around([box]) or box


def _names(plan: Plan) -> list[str]:
    """Names of the classes: numbered as in the file that they came from, else in the order of ``meta.json``."""
    if not plan.exact:
        return list(plan.kinds)
    found: dict[str, None] = {}
    for source in plan.sources.values():
        given = source.get("categories")
        for one in given if isinstance(given, list) else ():
            if isinstance(one, dict) and isinstance(one.get("name"), str):
                found[one["name"]] = None
    datasets = list(plan.sources) or [""]
    for title in plan.kinds:
        found[plan.category(title, datasets[0])] = None
    return list(found)


def _rgb(kind: Kind | None) -> list[int]:
    text = kind.color.removeprefix("#") if kind is not None else ""
    try:
        return list(bytes.fromhex(text))[:3] if len(text) == 6 else [0, 0, 0]
    except ValueError:
        return [0, 0, 0]
