"""COCO: a folder for each dataset, with ``annotations/coco_instances.json`` and ``images``, as the SDK writes it."""

from __future__ import annotations

from posixpath import isabs, normpath
from typing import TYPE_CHECKING, Any, Final

from blobdir.jsontext import write_json
from blobdir.labels.formats.cocoobjects import CROWD, pose_numbers
from blobdir.labels.masks import beyond, compressed, filled, in_image, to_rle
from blobdir.labels.measures import area, measured, plain, ring_area
from blobdir.labels.model import Box, Mask, Polygon, Pose, around, ident_of, told, understood
from blobdir.labels.splitnames import LABEL_FOLDERS
from blobdir.labels.supervisely import MEASURED, digest
from blobdir.labels.writers.model import Writer, free_name, kept_of_format, seen_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from blobdir.labels.model import Shape
    from blobdir.labels.supervisely import Kind
    from blobdir.labels.writers.model import Item, Plan

INSTANCES: Final = "coco_instances.json"
CAPTIONS: Final = "coco_captions.json"
_HEAD: Final = {
    "info": {
        "description": "COCO dataset converted from Supervisely",
        "url": "None",
        "version": "1.0",
        "contributor": "Supervisely",
    },
    "licenses": [{"url": "None", "id": 0, "name": "None"}],
}
"""What the SDK says of each file, without times."""
_MEASURES: Final = ("segmentation", "area", "bbox", "iscrowd")
_MARGIN: Final = 10
"""Pixels by which the SDK lets an outline be outside of the box that is bound to it."""
_OURS: Final = frozenset(("of", "compressed", "category_id", "absent", "attributes", *MEASURED))

Labelled = tuple[dict[str, Any], str, "Shape"]
"""An object as it's in the annotation, its class, its shape."""


class CocoWriter(Writer):
    """Writes COCO."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self._used = set(LABEL_FOLDERS) if plan.exact else set()  # who reads it takes these for no name of a split

    def begin(self, dataset: str) -> None:
        """Begin a dataset."""
        self._source = self.plan.sources.get(dataset, {}) if self.plan.exact else {}
        self._dataset = dataset
        short = dataset.rpartition("/")[2]
        self._folder = free_name(self._used, seen_name(short) if self.plan.exact else short)
        self.plan.note_name(dataset, self._folder)
        self._images: list[dict[str, Any]] = []
        self._captions: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._categories = _categories(self.plan, self._source, dataset)
        self._ids = {category["name"]: category["id"] for category in reversed(self._categories)}
        self._by_name: dict[str, list[dict[str, Any]]] = {}
        for category in self._categories:
            self._by_name.setdefault(category["name"], []).append(category)
        self._names: set[str] = set()
        self._image_ids: set[Any] = set()
        self._unnumbered: list[dict[str, Any]] = []

    def add(self, item: Item) -> str:
        """Take an image."""
        kept = kept_of_format(item.kept, "image", "coco") if self.plan.exact else {}
        wanted = self.plan.seen(item, _file_name(kept.get("file_name"), item.name))
        name = free_name(self._names, wanted, extension=True)
        self.note_renamed(item, wanted, name)
        image = _image(item, name, len(self._images) + 1)
        if self.plan.exact:
            image = kept | {key: image[key] for key in ("file_name", "height", "width")}
            if type(image.get("id")) not in (int, str) or image["id"] in self._image_ids:
                image["id"] = None
                self._unnumbered.append(image)
            self._image_ids.add(image["id"])
        self._images.append(image)
        captions = ("caption",) if self.plan.caption else ()
        self.plan.without_tags(item, of_objects=None if self.plan.exact else (), of_images=captions)
        make = self._exact if self.plan.exact else self._as_the_sdk
        for annotation in make(item):
            self._annotations.append(annotation | {"image_id": image})
        if self.plan.caption:
            self._add_captions(item, image)
        return f"{self._folder}/images/{name}"

    def _add_captions(self, item: Item, image: dict[str, Any]) -> None:
        """Captions with the numbers, and what else they had, of the file that they came from."""
        given = item.kept.get("captions") if self.plan.exact and item.kept.get("format") == "coco" else None
        known = [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []
        for tag in item.tags:
            text = tag.get("value")
            if tag["name"] != "caption" or not isinstance(text, str):
                continue
            mine = next((one for one in known if one.get("caption") == text), {})
            known = [one for one in known if one is not mine]
            self._captions.append({"id": None, **mine, "image_id": image, "caption": text})

    def end(self) -> None:
        """Write the dataset's files, and say which images are called otherwise."""
        self.say_renamed(self._dataset)
        used = {image["id"] for image in self._images}
        free = 1
        for image in self._unnumbered:
            while free in used:
                free += 1
            image["id"] = free
            used.add(free)
        said = self.plan.file_of(self._dataset, "coco") if self.plan.exact else {}
        captions = self._source.get("captions")
        said = said if self.plan.exact else _HEAD
        heads = {INSTANCES: said, CAPTIONS: captions if isinstance(captions, dict) else said}
        categories = [_as_said(category) for category in self._written_categories()]
        for rows, name in ((self._annotations, INSTANCES), (self._captions, CAPTIONS)):
            _number(rows)
            for row in rows:
                row["image_id"] = row["image_id"]["id"]
            if rows or name == INSTANCES:
                lists = {"images": self._images, "categories": categories, "annotations": rows}
                self.plan.write(f"{self._folder}/annotations/{name}", write_json(heads[name] | lists))
        self._images, self._annotations, self._captions = [], [], []

    def _written_categories(self) -> Iterator[dict[str, Any]]:
        """All classes; where the dataset is from a COCO file, those that this had, and others that are used."""
        given = self._source.get("categories") if self._source.get("format") == "coco" else None
        names = {one["name"] for one in given if _is_category(one)} if isinstance(given, list) else set()
        used = {annotation["category_id"] for annotation in self._annotations}
        for category in self._categories:
            if not names or category["name"] in names or category["id"] in used:
                yield category

    def finish(self) -> None:
        """Nothing is left to do."""

    # -- as the SDK does ---------------------------------------------------------------------------------------

    def _as_the_sdk(self, item: Item) -> Iterator[dict[str, Any]]:
        groups: dict[str | None, list[Labelled]] = {}
        for one, title, shapes in self.plan.shapes(item):
            if one.get("instance") is None:
                self.plan.in_pieces(item, title, len(shapes), "COCO")
            for shape in shapes:
                if isinstance(shape, (Box, Polygon, Mask, Pose)):
                    groups.setdefault(one.get("instance"), []).append((one, title, shape))
                else:
                    self.plan.lost(item, title, "is a line or a point, which COCO doesn't have")
        for key, labels in groups.items():
            if key is None:
                yield from self._single(item, labels)
                continue
            found = [*self._bound(item, labels)]
            if len(found) > 1:
                self.plan.untold.update([("part of a group", title) for _, title, _ in labels])
            yield from found

    def _single(self, item: Item, labels: list[Labelled]) -> Iterator[dict[str, Any]]:
        for kind in (Polygon, Box, Mask):
            for _, title, shape in labels:
                if isinstance(shape, kind):
                    yield self._solid(item, title, shape)
        for _, title, shape in labels:
            if isinstance(shape, Pose):
                yield self._pose(item, title, shape)

    def _bound(self, item: Item, labels: list[Labelled]) -> Iterator[dict[str, Any]]:
        """Objects that belong together: outlines are one, with the box that is around them."""
        poses = [(title, shape) for _, title, shape in labels if isinstance(shape, Pose)]
        masks = [(title, shape) for _, title, shape in labels if isinstance(shape, Mask)]
        polygons = [(title, shape) for _, title, shape in labels if isinstance(shape, Polygon)]
        boxes = [(title, shape) for _, title, shape in labels if isinstance(shape, Box)]
        frame = around(shape for _, shape in boxes) if boxes and not (masks and polygons) else None
        fits_mask = fits_outline = False
        if poses:
            yield self._pose(item, *poses[0])
            for title, _ in poses[1:]:
                self.plan.lost(item, title, "is the second one with keypoints of those that are bound together")
        for title, mask in masks:
            found = self._solid(item, title, mask)
            if frame is not None:
                fits_mask = _is_around(frame, _sdk_box(mask))
                if fits_mask:
                    found["bbox"] = _sides(frame)
            yield found
        if polygons:
            found, whole = self._joined(item, polygons)
            if whole is not None:
                fits_outline = frame is not None and _is_around(frame, whole)
                found["bbox"] = _sides(frame if frame is not None and fits_outline else whole)
            yield found
        if fits_mask or fits_outline:
            self.plan.one_box(labels)
        else:
            for title, box in boxes:
                yield self._solid(item, title, box)

    def _joined(self, item: Item, polygons: list[tuple[str, Polygon]]) -> tuple[dict[str, Any], Box | None]:
        """Outlines as one object, of the class of the first; and the box around them."""
        (first, _), *others = polygons
        found = self._solid(item, *polygons[0])
        for title, polygon in others:
            self._name_holes(item, title, polygon)
            if title != first:
                self.plan.lost(item, title, f"is in a group with an outline of {first!r}, and becomes one of these")
        found["segmentation"] = [_flat(shape) for _, shape in polygons]
        found["area"] = sum(_sdk_area(shape) for _, shape in polygons)
        return found, around([_sdk_box(shape) for _, shape in polygons])

    def _template(self, title: str) -> dict[str, Any]:
        return {
            "id": None,
            "segmentation": [],
            "area": 0,
            "iscrowd": 0,
            "bbox": [],
            "category_id": self._ids[title],
        }

    def _solid(self, item: Item, title: str, shape: Box | Polygon | Mask) -> dict[str, Any]:
        found = self._template(title)
        found["bbox"], found["area"] = _sides(_sdk_box(shape)), _sdk_area(shape)
        if isinstance(shape, Polygon):
            found["segmentation"] = [_flat(shape)]
            self._name_holes(item, title, shape)
        elif isinstance(shape, Mask):
            self._name_cut(item, title, shape)
            found["segmentation"] = to_rle(shape, item.width, item.height)
        return found

    def _name_holes(self, item: Item, title: str, polygon: Polygon) -> None:
        if polygon.holes:
            self.plan.lost(item, title, "has holes, which COCO's outlines haven't; its area is without them")

    def _name_cut(self, item: Item, title: str, shape: Polygon | Mask) -> None:
        """Say what of a shape isn't in its run lengths."""
        if fault := beyond(shape, item.width, item.height):
            self.plan.lost(item, title, fault)

    def _pose(self, item: Item, title: str, pose: Pose) -> dict[str, Any]:
        labels = list(self.plan.kinds[title].keypoints.values())
        self._name_unknown(item, title, pose, labels)
        self.plan.see_all(title, pose)
        numbers: list[float] = []
        for label in labels:
            x, y, _ = pose.points.get(label, (0, 0, False))
            numbers += [x, y, 2] if label in pose.points else [0, 0, 0]
        left, right = (int(most(numbers[::3])) for most in (min, max))
        top, bottom = (int(most(numbers[1::3])) for most in (min, max))
        found = self._template(title) | {"keypoints": numbers, "num_keypoints": len(labels)}
        return found | {
            "area": (right - left) * (bottom - top),
            "bbox": [left, top, right - left, bottom - top],
        }

    # -- as it is ----------------------------------------------------------------------------------------------

    def _exact(self, item: Item) -> Iterator[dict[str, Any]]:
        groups: dict[Any, list[Labelled]] = {}
        for number, (one, title, shapes) in enumerate(self.plan.shapes(item)):
            key = one.get("instance")
            name = self.plan.category(title, self._dataset)
            for shape in shapes:
                if isinstance(shape, (Box, Polygon, Mask, Pose)):
                    groups.setdefault((key, name) if isinstance(key, str) else number, []).append((one, name, shape))
                else:
                    self.plan.lost(item, title, "is a line or a point, which COCO doesn't have")
        self.plan.unbind(item, all_of=False)
        kept = kept_of_format(item.kept, "objects", "coco")
        for key, labels in groups.items():
            known = kept.get(key[0]) if isinstance(key, tuple) else None
            known = known if isinstance(known, dict) else {}
            yield self._one(item, key[0] if isinstance(key, tuple) else "", labels, known)

    def _one(self, item: Item, key: str, labels: list[Labelled], known: dict[str, Any]) -> dict[str, Any]:
        name = labels[0][1]
        shapes: list[Shape] = [shape for _, _, shape in labels]
        found: dict[str, Any] = {key: value for key, value in known.items() if key not in _OURS}
        given = known.get("id")
        ident = given if type(given) is str and key.startswith(f"coco-{given}") else _ident(key)
        poses = [shape for shape in shapes if isinstance(shape, Pose)]
        pose = poses[0] if poses else None
        if len(poses) > 1:
            self.plan.lost(item, name, f"has {len(poses)} sets of keypoints, and an object of COCO has one")
        self.plan.one_box(labels)
        category = self._category_of(name, ident_of(known.get("category_id")), pose)
        found |= {"id": ident, "category_id": category["id"]}
        if pose is not None:
            found |= self._keypoints(item, name, pose, category)
        solid = [shape for shape in shapes if isinstance(shape, (Polygon, Mask))]
        found["segmentation"], more = _segmentation(solid, item, compact="compressed" in known)
        has_outlines = isinstance(found["segmentation"], list) and found["segmentation"]
        for shape in () if has_outlines else solid:
            self._name_cut(item, name, shape)
        found |= measured(shapes) | more
        if solid and (frame := around(shape for shape in shapes if isinstance(shape, Box))):
            found["bbox"] = [plain(one) for one in _sides(frame)]
        if known.get("of") == digest(_distinct(one for one, _, _ in labels)):
            found |= {key: known[key] for key in known if key in MEASURED}
        tags = {tag["name"]: tag.get("value") for one, _, _ in labels for tag in one.get("tags", [])}
        if CROWD in tags or type(found.get(CROWD)) not in (int, float, str):
            found[CROWD] = int(CROWD in tags)
        tags.pop(CROWD, None)
        absent = known.get("absent")
        for side in absent if isinstance(absent, list) else ():
            if side not in _MEASURES:
                continue
            if not found.get(side) or side in ("area", "bbox"):
                found.pop(side, None)
        attributes = _attributes(tags, known.get("attributes"))
        return found | ({"attributes": attributes} if attributes else {})

    def _category_of(self, name: str, ident: int | str | None, pose: Pose | None) -> dict[str, Any]:
        """The category of an object: that of its number, then of several of one name the one with its keypoints."""
        points = pose.points.keys() if pose is not None else set()
        return min(
            self._by_name[name], key=lambda one: (bool(points - set(one.get("keypoints", []))), one["id"] != ident)
        )

    def _name_unknown(self, item: Item, name: str, pose: Pose, known: Sequence[str]) -> None:
        if unknown := pose.points.keys() - {*known}:
            self.plan.lost(item, name, f"has keypoints that its category doesn't have: {', '.join(sorted(unknown))}")

    def _keypoints(self, item: Item, name: str, pose: Pose, category: dict[str, Any]) -> dict[str, Any]:
        self._name_unknown(item, name, pose, category.get("keypoints", []))
        return pose_numbers(pose, category.get("keypoints", []))


def _distinct(items: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({id(item): item for item in items}.values())


def _attributes(tags: dict[str, Any], kept: Any) -> dict[str, Any]:
    """Attributes of an object: of those that tags can't hold, what was kept, as long as the tag is what it was."""
    kept = kept if isinstance(kept, dict) else {}
    found = {}
    for label, value in tags.items():
        name = label[:-1] if label != CROWD and label.rstrip("_") == CROWD else label
        known = kept.get(label)
        is_same = label in kept and value in (told(known), told(known, as_text=True))
        found[name] = known if is_same else understood(value)
    return found


def _number(rows: list[dict[str, Any]]) -> None:
    """Give numbers to what has none, or one that another has."""
    taken = set()
    for row in rows:
        ident = ident_of(row["id"])
        row["id"] = None if ident in taken else ident
        taken.add(ident)
    free = 1
    for row in rows:
        if row["id"] is None:
            while free in taken:
                free += 1
            row["id"] = free
            taken.add(free)


def _ident(key: str) -> int | None:
    text = key.removeprefix("coco-")
    return int(text) if text != key and text.isdecimal() else None


def _segmentation(solid: Sequence[Polygon | Mask], item: Item, *, compact: bool) -> tuple[Any, dict[str, Any]]:
    """What COCO has for areas, and what of them it hasn't: outlines, or run lengths where there are masks or holes."""
    polygons = [shape for shape in solid if isinstance(shape, Polygon)]
    if len(polygons) == len(solid) and not any(shape.holes for shape in polygons):
        return [_flat(shape) for shape in polygons], {}
    whole = None
    for shape in solid:
        mask = shape if isinstance(shape, Mask) else filled(shape, item.width, item.height)
        if mask is not None:
            pixels = in_image(mask, item.width, item.height)
            whole = pixels if whole is None else whole | pixels
    if whole is None:
        return [], {}
    rle = to_rle(Mask(0, 0, whole), item.width, item.height)
    if compact:
        rle["counts"] = compressed(rle["counts"])
    if len(solid) == 1 and polygons:
        rings = [[plain(one) for point in ring for one in point] for ring in (polygons[0].exterior, *polygons[0].holes)]
        return rle, {"holes": {"exterior": rings[0], "interior": rings[1:]}}
    return rle, {}


def _flat(polygon: Polygon) -> list[float]:
    return [float(one) for point in polygon.exterior for one in point]


def _sdk_area(shape: Box | Polygon | Mask) -> float:
    """The SDK counts the pixels at both ends of a box."""
    if isinstance(shape, Box):
        return float((shape.right - shape.left + 1) * (shape.bottom - shape.top + 1))
    if isinstance(shape, Polygon):
        return ring_area(shape.exterior) - sum(map(ring_area, shape.holes))
    return float(area([shape]))


def _sdk_box(shape: Box | Polygon | Mask) -> Box:
    """A box as the SDK has it: of outlines in whole pixels, of masks with the last pixel as its end."""
    box = around([shape])
    if box is None or isinstance(shape, Box):
        return box or Box(0, 0, 0, 0)
    if isinstance(shape, Mask):
        return Box(box.left, box.top, box.right - 1, box.bottom - 1)
    return Box(round(box.left), round(box.top), round(box.right), round(box.bottom))


def _is_around(frame: Box, inner: Box) -> bool:
    return (
        frame.left - _MARGIN <= inner.left
        and frame.top - _MARGIN <= inner.top
        and frame.right + _MARGIN >= inner.right
        and frame.bottom + _MARGIN >= inner.bottom
    )


def _sides(box: Box) -> list[float]:
    return [box.left, box.top, box.right - box.left, box.bottom - box.top]


def _file_name(given: Any, name: str) -> str:
    """The name that an image had, with folders, if it stays below its dataset's folder; else the one it has."""
    if not isinstance(given, str) or not given or isabs(given) or "\0" in given or "\\" in given:
        return name
    return given if normpath(given) == given and not given.startswith("..") else name


def _image(item: Item, name: str, number: int) -> dict[str, Any]:
    info = item.info
    return {
        "license": "None",
        "file_name": name,
        "url": "None",
        "height": info.get("height", item.height),
        "width": info.get("width", item.width),
        "date_captured": info.get("created_at"),
        "id": number,
        "sly_id": info.get("id"),
    }


def _categories(plan: Plan, source: dict[str, Any], dataset: str) -> list[dict[str, Any]]:
    """Classes by the order of ``meta.json``; those that came from a file with its numbers."""
    given = source.get("categories")
    known = [one for one in given if _is_category(one)] if isinstance(given, list) else []
    if not plan.exact:
        return [_category(number, kind) for number, kind in enumerate(plan.kinds.values(), 1)]
    names = {one["name"] for one in known}
    used = {one["id"] for one in known}
    free = 1
    kinds: dict[str, Kind] = {}
    for kind in plan.kinds.values():  # of several classes that are one category, the one with keypoints tells of them
        name = plan.category(kind.title, dataset)
        if name not in kinds or (kind.shape == "graph" and kinds[name].shape != "graph"):
            kinds[name] = kind
    for name, kind in kinds.items():
        if name in names:
            continue
        while free in used:
            free += 1
        used.add(free)
        names.add(name)
        known.append(_category(free, kind) | {"name": name, "supercategory": name})
    return known


def _as_said(category: dict[str, Any]) -> dict[str, Any]:
    """A category as its file had it: two of one name may be two classes."""
    said = category.get("said")
    found = {key: value for key, value in category.items() if key != "said"}
    return found | ({"name": said} if isinstance(said, str) else {})


def _is_category(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return False
    keypoints = value.get("keypoints", [])
    has_names = isinstance(keypoints, list) and all(isinstance(one, str) for one in keypoints)
    return has_names and type(value.get("id")) in (int, str)


def _category(number: int, kind: Kind) -> dict[str, Any]:
    found: dict[str, Any] = {"supercategory": kind.title, "id": number, "name": kind.title}
    if kind.shape == "graph":
        places = {key: i for i, key in enumerate(kind.keypoints, 1)}
        found["keypoints"] = list(kind.keypoints.values())
        found["skeleton"] = [[places[a], places[b]] for a, b in kind.edges]
    return found
