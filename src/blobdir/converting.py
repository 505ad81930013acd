"""Projects written in the formats of others.

Labels as COCO, YOLO, Pascal VOC: as the SDK does it, and without it. Images with their annotations as they are, in tars
for WebDataset, LMDB, Parquet: `blobdir.stores`. Which options are for which format stands in `_FITS`.
"""

from __future__ import annotations

import io
import os
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from blobdir.annotations import annotation_fault, place_fault, size_fault
from blobdir.datasets import ProjectView, read_meta, refuse_tars
from blobdir.discovery import DiscoveryOptions, layout
from blobdir.errors import AnnotationError, BlobdirError, ImageError, NotFoundError, PackError, UsageError
from blobdir.images import shown_size
from blobdir.index import LOOSE
from blobdir.jsontext import read_json
from blobdir.labels.supervisely import SOURCE, kind_of_object, kinds_of
from blobdir.labels.writers import WRITERS
from blobdir.labels.writers.model import SEVERAL_BOXES, Item, Plan, kept_of
from blobdir.opening import OpenOptions, open_tree
from blobdir.packing.locking import unmixed
from blobdir.packing.newfolder import NewFolder
from blobdir.packing.otherlabels import why_no_image
from blobdir.packing.report import Problem
from blobdir.packing.unmatched import unmatched, why_unused
from blobdir.sources import LocalStorage, open_storage
from blobdir.stores import STORES
from blobdir.stores.writing import Storing
from blobdir.tarwriting.lmdbs import LOOK_BYTES
from blobdir.tarwriting.members import is_image
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterator

    from blobdir.datasets import Annotated, DatasetView
    from blobdir.discovery import Progress
    from blobdir.labels.supervisely import Kind
    from blobdir.labels.writers.model import Writer
    from blobdir.packing.made import Made
    from blobdir.tree import Tree

Target = Literal["coco", "yolo", "voc", "webdataset", "lmdb", "parquet"]
ImagesAs = Literal["copy", "link", "none"]
Style = Literal["auto", "sdk", "exact"]
Task = Literal["", "detect", "segment", "pose"]
SUFFIX: Final = ".converting"
_LABELS: Final = tuple(WRITERS)
_SHARDED: Final = tuple(name for name, store in STORES.items() if store.shard_bytes)
_FITS: Final = {
    "images": _LABELS,
    "style": _LABELS,
    "task": ("yolo",),
    "val": ("yolo",),
    "shard_bytes": _SHARDED,
    "shard_images": _SHARDED,
}
"""Option -> the formats that it's for; the others are for all."""
_AT_ONCE: Final = 200
_MOST_BYTES: Final = 64 << 20
"""Of images that are read together, but for the last of them."""
_UNKNOWN_BYTES: Final = 1 << 20
"""Of a file behind a backend that doesn't say it."""


@dataclass(frozen=True, slots=True)
class ConvertOptions:
    """How a project is converted.

    Attributes
    ----------
    to : {"coco", "yolo", "voc", "webdataset", "lmdb", "parquet"}
    images : {"copy", "link", "none"}
        Whether the images come along: their bytes, or symbolic links to them, which only plain files on this machine
        (a mount, too) can have.
    style : {"auto", "sdk", "exact"}
        Files, numbers and splits as the SDK writes them; or names, ids, splits and fractions of pixels as the project
        has them. ``auto``: exact, if the project was packed from label files.
    task : {"", "detect", "segment", "pose"}
        Of YOLO. Empty: boxes as the SDK; exactly, whatever each object is, but boxes for outlines where any object has
        keypoints.
    val : tuple of str
        Of YOLO: datasets that are for validation.
    datasets : tuple of str
        Only these; empty: all.
    follow_links : bool
    strict : bool
        Stop at the first problem.
    shard_bytes : int
        Of WebDataset and Parquet: most bytes of a file, but for a single image; 0: 1 GiB, of Parquet 500 MiB.
    shard_images : int
        The same by number of images; 0 is no limit.
    """

    to: Target
    images: ImagesAs = "copy"
    style: Style = "auto"
    task: Task = ""
    val: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    follow_links: bool = False
    strict: bool = False
    shard_bytes: int = 0
    shard_images: int = 0

    def __post_init__(self) -> None:
        if self.to == "folder":  # type: ignore[comparison-overlap]  # whoever isn't checked by mypy
            raise UsageError("images and annotations as plain files are what unpack writes: blobdir unpack")
        for name, allowed in (("to", Target), ("images", ImagesAs), ("style", Style), ("task", Task)):
            if getattr(self, name) not in get_args(allowed):
                raise UsageError(f"{name}={getattr(self, name)!r}: choose one of {', '.join(get_args(allowed))}")
        if self.shard_bytes < 0 or self.shard_images < 0:
            raise UsageError("shard_bytes and shard_images can't be negative")
        for one in fields(self):
            fits = _FITS.get(one.name, (self.to,))
            if self.to not in fits and getattr(self, one.name) != one.default:
                called = "shard_bytes (--shard-size)" if one.name == "shard_bytes" else one.name
                raise UsageError(f"{called} is for {', '.join(fits)}, not for {self.to}")


@dataclass(slots=True)
class ConvertReport:
    """What was converted.

    Attributes
    ----------
    images, objects, files : int
        Objects are those of the project, where only labels are converted; files those that were written, images not
        counted.
    annotations : int
        Of a format that keeps these as they are: how many.
    style : str
        Of labels.
    problems : list of Problem
        What isn't in the result.
    seconds : float
    """

    images: int = 0
    objects: int = 0
    files: int = 0
    annotations: int = 0
    style: str = ""
    problems: list[Problem] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def losses(self) -> int:
        """Objects, or parts of them, that the format has no place for."""
        return sum(problem.code == "label-lost" for problem in self.problems)

    @property
    def complete(self) -> bool:
        """Whether everything is in the result."""
        return not any(problem.costs for problem in self.problems)


def convert(
    project: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    options: ConvertOptions,
    *,
    tree: Tree | None = None,
    check: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> ConvertReport:
    """Write a project in a format of others: its labels, and its images; or images and annotations as they are.

    Parameters
    ----------
    project : path or URL
    dest : path
        Must not exist; appears when it's whole.
    options : ConvertOptions
    tree : Tree, optional
        The project, if it's open already.
    check : callable, optional
        Called before `dest` appears, with what to do then: what it raises keeps it from that. Without, nobody can
        change a project on this machine meanwhile; one behind a backend is read as it is.
    progress : callable, optional
        See `blobdir.discovery.Progress`.

    Returns
    -------
    ConvertReport
        Says what the format has no place for: nothing is left out without a word.

    Raises
    ------
    UsageError
        `dest` exists, a dataset isn't there, or images can't be linked.
    SourceChangedError
        The project was changed meanwhile, or since `tree` was opened; nothing was made.
    PackError
        With ``options.strict``, the first problem.
    """
    began = time.perf_counter()
    if options.to in STORES:
        STORES[options.to].check()
    folder = NewFolder(dest, SUFFIX, resume=True)  # what is left of one that was killed is made anew
    folder.check()
    with _still(project, tree, check) as settled:
        if tree is None:
            opened = OpenOptions(discovery=DiscoveryOptions(follow_links=options.follow_links), index="none")
            tree = open_tree(project, options=opened)
        refuse_tars(tree)
        converting = _Converting(tree, options, progress)
        with folder:
            try:
                folder.clear()
                converting.run(folder.made)
                settled("nothing was made; try again")
            except BaseException as error:
                folder.discard(error)
                raise
            folder.publish()
    converting.report.seconds = time.perf_counter() - began
    return converting.report


@contextmanager
def _still(
    project: str | os.PathLike[str], tree: Tree | None, check: Callable[[str], None] | None
) -> Iterator[Callable[[str], None]]:
    """Have a project stay as it is, if nobody else sees to that."""
    storage = None if check else tree.storage if tree is not None else open_storage(project)
    if isinstance(storage, LocalStorage):
        with unmixed(storage.root, tree.changes if tree is not None else None) as settled:
            yield settled
    else:
        yield check or (lambda _: None)


class _Converting:
    """One project on its way."""

    def __init__(self, tree: Tree, options: ConvertOptions, progress: Progress | None) -> None:
        self.report = ConvertReport()
        self._tree, self._options, self._progress = tree, options, progress
        self._view: ProjectView[DatasetView] = ProjectView(tree)
        self._done = 0
        self._kinds: dict[str, Kind] = {}

    def run(self, work: Made) -> None:
        """Write everything into a folder."""
        datasets = self._view.all_chosen(self._options.datasets or self._view)
        for name in self._options.val:
            self._view.chosen(name)  # an error where there is none
        for defect in () if self._options.datasets else self._view.unseen():
            self._problem("unseen", defect.path, f"{defect.message}; datasets may be missing")
        meta, fault = read_meta(self._tree)
        if fault:
            raise PackError(f"{layout.META}: {fault}; nothing was made")
        if self._options.to in STORES:
            self._store(work, datasets)
            return
        sources = {one.name: found for one in datasets if (found := self._json(f"{one.path}/{SOURCE}"))}
        exact = self._options.style == "exact" or (self._options.style == "auto" and bool(sources))
        self.report.style = "exact" if exact else "sdk"
        caption = any(
            tag["name"] == "caption" and tag.get("value_type") == "any_string" for tag in meta.get("tags", [])
        )
        self._kinds = kinds_of(self._sound_meta(meta))
        plan = Plan(
            self._kinds,
            caption,
            sources,
            exact,
            self._options.task,
            frozenset(self._view[name].name for name in self._options.val),
            lambda path, data: self._write(work, path, data),
            lambda path, text: self._problem("label-lost", path, text),
            datasets=tuple(one.name for one in datasets),
            note=lambda path, text: self._problem("label-note", path, text),
            shapes_used=lambda kind: self._shapes_used(datasets, kind),
        )
        writer = WRITERS[self._options.to](plan)
        total = sum(len(one.names) for one in datasets)
        for dataset in datasets:
            writer.begin(dataset.name)
            self._write_dataset(work, dataset, writer, total)
            writer.end()
        writer.finish()
        for (title, kind), count in _most_first(plan.boxed):
            why = f", {plan.why_boxed}" if plan.why_boxed and kind != SEVERAL_BOXES else ""
            text = f"{counted(count, 'object')} with {kind} became the boxes around them{why}"
            self.report.problems.append(Problem("label-boxed", title, text))
        for (what, name), count in _most_first(plan.untold):
            text = f"is a {what} {counted(count, 'time')}, and {self._options.to} has no place for that"
            self.report.problems.append(Problem("label-untold", name or "''", text))

    def _store(self, work: Made, datasets: list[DatasetView]) -> None:
        """Write images and annotations as they are."""
        storing = Storing(self._tree, self._options.to, self._problem, self._progress)
        storing.run(work, datasets, self._options.shard_bytes, self._options.shard_images)
        report = self.report
        report.images, report.annotations, report.files = storing.images, storing.annotations, storing.files
        for one in datasets:
            self._name_left_out(one)
            self._name_unused(one, one.names)

    def _shapes_used(self, datasets: list[DatasetView], kind: str) -> set[str]:
        """The kinds of shapes that objects have; it ends behind the first of one kind."""
        found: set[str] = set()
        for dataset in datasets:
            for first in range(0, len(dataset.names), _AT_ONCE):
                for one in dataset.annotations(dataset.names[first : first + _AT_ONCE]):
                    if one.value is not None and not one.fault and not annotation_fault(one.value):
                        found.update(kind_of_object(item, self._kinds) for item in one.value.get("objects", []))
                if kind in found:
                    return found
        return found

    def _write_dataset(self, work: Made, dataset: DatasetView, writer: Writer, total: int) -> None:
        names = dataset.names
        self._name_left_out(dataset)
        self._name_unused(dataset, names)
        for first in range(0, len(names), _AT_ONCE):
            part = names[first : first + _AT_ONCE]
            places = {}
            beside = self._read_beside(dataset, "meta", part)
            infos = self._read_beside(dataset, "img_info", part)
            for one in dataset.annotations(part):
                item = self._item(dataset, one, beside.get(one.name, {}), infos.get(one.name, {}))
                if item is not None:
                    places[one.name] = self._add(writer, item)
                    self.report.images += 1
            if self._options.images == "copy":
                self._copy(work, dataset, places)
            elif self._options.images == "link":
                self._link(work, dataset, places)
            self._done += len(part)
            if self._progress:
                self._progress("converting", self._done, total)

    def _name_left_out(self, dataset: DatasetView) -> None:
        """Name files in ``img/`` that aren't called like images, which costs those that are some, as `pack` does."""
        for name, row in dataset.no_images():
            head = b""
            with suppress(OSError, BlobdirError):  # a link that leads nowhere
                head = self._tree.read(row, 0, LOOK_BYTES)
            code = "name" if is_image(head) else "not-an-image-name"
            path = f"{dataset.path}/{layout.ITEMS}/{name}"
            self._problem(code, path, f"isn't in the result: {why_no_image(name, head)}")

    def _name_unused(self, dataset: DatasetView, names: list[str]) -> None:
        """Name annotations that no image uses: what they say isn't in the result."""
        folder = f"{dataset.path}/{layout.ANNOTATIONS}"
        labels: list[str] = []
        with suppress(OSError, BlobdirError):  # no folder of them, or none that can be listed, which is said elsewhere
            labels = [name for name in self._tree.names(self._tree.find(folder)) if name.endswith(".json")]
        unused = [labels[i] for i in unmatched(names, labels)[1]]
        for name, text in why_unused(unused, names) if unused else ():
            self._problem("label-image", f"{folder}/{name}", f"isn't in the result: {text}")

    def _add(self, writer: Writer, item: Item) -> str:
        self.report.objects += len(item.objects)
        item.objects = [one for number, one in enumerate(item.objects) if self._is_sound(item, number, one)]
        try:
            return writer.add(item)
        except BlobdirError:
            raise
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise PackError(
                f"{item.dataset}/{item.name}: what its annotation says of its objects can't be written ({error}); "
                "nothing was made"
            ) from error

    def _is_sound(self, item: Item, number: int, one: dict[str, Any]) -> bool:
        """Whether an object has numbers that can be reckoned with; one that hasn't is named."""
        fault, title = place_fault(one), one["classTitle"]
        kind = self._kinds.get(title)
        if self._options.to == "coco" and kind is not None and kind.shape == "graph" and not kind.keypoints:
            fault = "is of a class whose nodes meta.json doesn't have"
        if fault:
            self._problem("label-lost", f"{item.dataset}/{item.name}", f"object {number} ({title!r}) {fault}")
        return not fault

    def _sound_meta(self, meta: dict[str, Any]) -> dict[str, Any]:
        """``meta.json`` without edges that are none; classes that have such are named."""
        classes = []
        for item in meta.get("classes", []):
            config = item.get("geometry_config")
            edges = config.get("edges") if isinstance(config, dict) else None
            if isinstance(config, dict) and edges:
                sound = [edge for edge in edges if _is_edge(edge)] if isinstance(edges, list) else []
                if sound != edges:
                    text = f"the class {item['title']!r} has edges that don't say from which node to which"
                    self._problem("label-lost", layout.META, text)
                item = item | {"geometry_config": config | {"edges": sound}}  # noqa: PLW2901  # the same class
            classes.append(item)
        return meta | {"classes": classes}

    def _read_beside(self, dataset: DatasetView, folder: str, names: list[str]) -> dict[str, dict[str, Any]]:
        """JSON files of a folder that belong to images, read together; those that can't be read are named."""
        rows: dict[str, int] = {}
        for name in names:
            try:
                rows[name] = self._tree.find(f"{dataset.path}/{folder}/{name}.json")
            except NotFoundError:
                continue
            except (OSError, BlobdirError) as error:
                self._problem("unreadable", f"{dataset.path}/{folder}/{name}.json", str(error))
        try:
            contents = dict(zip(rows, self._tree.read_many(list(rows.values())), strict=True))
        except (OSError, BlobdirError):  # one of them, so that each is tried
            return {name: self._json(f"{dataset.path}/{folder}/{name}.json") for name in rows}
        return {name: self._parsed(f"{dataset.path}/{folder}/{name}.json", data) for name, data in contents.items()}

    def _item(self, dataset: DatasetView, one: Annotated, beside: dict[str, Any], info: dict[str, Any]) -> Item | None:
        """An image with what its annotation says; without objects where that can't be used, which is named."""
        place = f"{dataset.name}/{one.name}"
        value, fault = one.value, one.fault
        if value is None and not fault:
            self._problem("no-annotation", place, "has none; it's there without objects")
        if value is not None and not fault:
            fault = annotation_fault(value)
        if fault:
            self._problem("annotation", place, f"{fault}; it's there without objects")
        value = {} if value is None or fault else value
        size = (0, 0) if not value or size_fault(value) else (value["size"]["width"], value["size"]["height"])
        if not all(size):
            try:
                size = shown_size(io.BytesIO(dataset.get_blob_img_bytes(one.name)))
            except (ImageError, BlobdirError, OSError) as error:
                self._problem("image", place, f"its size can't be found out: {error}")
                return None
        return Item(
            dataset.name,
            one.name,
            size[0],
            size[1],
            value.get("objects", []),
            value.get("tags", []),
            info,
            kept_of(beside),
        )

    def _json(self, path: str) -> dict[str, Any]:
        """Content of a JSON file of the project; nothing where there is none, or it can't be used, which is named."""
        try:
            data = self._tree.read(self._tree.find(path))
        except NotFoundError:
            return {}
        except (OSError, BlobdirError) as error:
            self._problem("unreadable", path, f"can't be read: {error}")
            return {}
        return self._parsed(path, data)

    def _parsed(self, path: str, data: bytes) -> dict[str, Any]:
        try:
            value = read_json(data)
        except AnnotationError as error:
            self._problem("unreadable", path, f"can't be used: {error}")
            return {}
        if not isinstance(value, dict):
            self._problem("unreadable", path, "can't be used: it isn't an object")
            return {}
        return value

    # -- files -------------------------------------------------------------------------------------------------

    def _write(self, work: Made, path: str, data: bytes) -> None:
        work.create(path, data)
        self.report.files += 1

    def _copy(self, work: Made, dataset: DatasetView, places: dict[str, str]) -> None:
        for names in self._batches(dataset, list(places)):
            try:
                contents: dict[str, bytes] = dict(zip(names, dataset.read_many(names), strict=True))
            except (OSError, BlobdirError):
                contents = {}  # one of them, so that each is tried
            for name in names:
                try:
                    data = contents[name] if name in contents else dataset.get_blob_img_bytes(name)
                except (OSError, BlobdirError) as error:
                    self._problem("unreadable", f"{dataset.name}/{name}", f"can't be read: {error}")
                    continue
                work.create(places[name], data)

    def _batches(self, dataset: DatasetView, names: list[str]) -> Iterator[list[str]]:
        """Images that are in memory together."""
        batch: list[str] = []
        size = 0
        for name, known in zip(names, dataset.sizes(names), strict=True):
            batch.append(name)
            size += known if known >= 0 else _UNKNOWN_BYTES
            if size > _MOST_BYTES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def _link(self, work: Made, dataset: DatasetView, places: dict[str, str]) -> None:
        storage = self._tree.storage
        for name, place in places.items():
            path = f"{layout.join(dataset.path, layout.ITEMS)}/{name}"
            try:
                row = self._tree.find(path)
            except (OSError, BlobdirError) as error:  # it's a link that leads nowhere
                self._problem("unreadable", f"{dataset.name}/{name}", f"can't be linked: {error}")
                continue
            if not isinstance(storage, LocalStorage) or int(self._tree.index.source[row]) != LOOSE:
                raise UsageError(
                    f"{dataset.name}/{name}: is no file on this machine that a link could lead to; mount the project "
                    "and give the mountpoint, or copy the images: --images copy"
                )
            work.link(place, os.path.join(storage.root, self._tree.path(row)))

    def _problem(self, code: str, path: str, text: str) -> None:
        problem = Problem(code, path, text)
        if self._options.strict and problem.costs:
            raise PackError(f"{path}: {text} (--strict)")
        self.report.problems.append(problem)


def _most_first(counts: Counter[tuple[str, str]]) -> list[tuple[tuple[str, str], int]]:
    """What was counted, the most first."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _is_edge(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(end), str) for end in ("src", "dst"))
