"""Annotations, and the other files of images, against images and ``meta.json``."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from posixpath import splitext
from typing import TYPE_CHECKING, Any, Final, Self

from blobdir.annotations import annotation_fault, read_json, read_object, size_fault
from blobdir.discovery import layout
from blobdir.errors import AnnotationError, BlobdirError
from blobdir.index import DIRECTORY, LOOSE
from blobdir.packing.sidefiles import FOLDERS, bases, is_side_folder
from blobdir.verifying import looking
from blobdir.verifying.findings import in_words
from blobdir.verifying.looking import BATCH as FILES
from blobdir.verifying.looking import Helpers, Job, look_at, look_at_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from blobdir.datasets import DatasetView, ProjectView
    from blobdir.sources import LocalStorage
    from blobdir.tree import Tree
    from blobdir.verifying.findings import VerifyReport
    from blobdir.verifying.looking import Remark
    from blobdir.verifying.places import Folders

BATCH = 500
_JSON_FOLDERS: Final = frozenset(folder for folder, suffix in FOLDERS.items() if suffix == ".json")
MANY = 10_000
"""Annotations from which on it pays to start processes for them."""


class AnnotationCheck:
    """Every image has an annotation, every annotation an image; each is one, and names what ``meta.json`` knows.

    The other files of images are looked at by the way. A context manager: many files are looked at by processes beside
    this one, from its beginning on.

    Parameters
    ----------
    storage : LocalStorage
    folders : mapping
        All folders of the project by path.
    datasets : list of str
        Their paths.
    report : VerifyReport
    processes : int
        0: one per processor.
    """

    def __init__(
        self, storage: LocalStorage, folders: Folders, datasets: list[str], report: VerifyReport, processes: int
    ) -> None:
        self._report = report
        self._classes, self._tags = _known_names(storage, report)
        jobs = [job for dataset in datasets for job in _jobs(storage.root, folders, dataset)]
        count = processes or os.cpu_count() or 1
        many = (
            sum(len(job.names) for job in jobs) >= MANY
            and count > 1
            and bool(sys.executable)
            and os.path.isfile(looking.__file__)
        )
        self._helpers = Helpers(jobs, self._classes, self._tags, count if many else 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._helpers.__exit__()

    def finish(
        self, project: ProjectView[DatasetView], progress: Callable[[int, int], None], incomplete: set[str]
    ) -> None:
        """Report what was found.

        Parameters
        ----------
        project : ProjectView
        progress : callable
        incomplete : set of str
            Folders whose lists are shorter than the truth: nothing is missing there for sure.
        """
        tree, total, others = project.tree, 0, []
        for dataset in project.values():
            files = _side_files(tree, dataset.path)
            total += sum(len(listed.names) for listed in files[layout.ANNOTATIONS])
            others += list(_others(dataset.path, files))
            _check_names(dataset, files, incomplete, self._report)
        for done, (other, data) in enumerate(_contents(tree, others)):
            if isinstance(data, OSError):
                code = looking.INVALID if other.is_annotation else looking.SIDE_INVALID
                self._add(tree, [(other.dataset, code, other.name)])
            elif other.is_annotation:
                self._add(tree, look_at(other.dataset, other.name, data, self._classes, self._tags))
            else:
                self._add(tree, look_at_json(other.dataset, other.name, data))
            if done % 1000 == 0:
                progress(done, total)
        self._add(tree, self._helpers.remarks())
        progress(total, total)
        self._report.annotations += total

    def _add(self, tree: Tree, remarks: Iterable[Remark]) -> None:
        for dataset, code, example in remarks:
            said = example
            if code in (looking.INVALID, looking.SIDE_INVALID) and self._report.wants(code, dataset):
                is_annotation = code == looking.INVALID
                path = f"{dataset}/{layout.ANNOTATIONS}/{example}" if is_annotation else f"{dataset}/{example}"
                said = f"{example}: {_why_not(tree, path, is_annotation=is_annotation)}"
            self._report.add(code, dataset, said)


def _jobs(root: str, folders: Folders, dataset: str) -> Iterator[Job]:
    """The plain files among the annotations and other JSON files of a dataset, for the helpers."""
    for folder in sorted(_JSON_FOLDERS):
        top = layout.join(dataset, folder)
        is_annotation = folder == layout.ANNOTATIONS
        todo = [top]
        while todo:
            path = todo.pop()
            if path not in folders:
                continue
            below = path[len(top) + 1 :]
            prefix = layout.join("" if is_annotation else folder, below)
            names = []
            for entry in folders[path].entries:
                if entry.kind == "directory":
                    todo.append(f"{path}/{entry.name}")
                elif entry.kind == "file" and entry.name.endswith(".json"):
                    names.append(entry.name)
            names.sort()
            for at in range(0, len(names), FILES):
                part = names[at : at + FILES]
                yield Job(dataset, os.path.join(root, path), part, f"{prefix}/" if prefix else "", is_annotation)


@dataclass(frozen=True, slots=True)
class _Other:
    """An annotation that isn't a plain file: its dataset, path in the project, and name in the folder."""

    dataset: str
    path: str
    name: str
    is_annotation: bool


@dataclass(frozen=True, slots=True)
class _Listed:
    """Names in one folder of side files, what they are, and the folder's own path below the first."""

    prefix: str
    names: list[str]
    sources: list[int]


def _others(dataset: str, files: dict[str, list[_Listed]]) -> Iterator[_Other]:
    """What is packed, or a link: for this process."""
    for folder in _JSON_FOLDERS & files.keys():
        is_annotation = folder == layout.ANNOTATIONS
        for listed in files[folder]:
            for name, source in zip(listed.names, listed.sources, strict=True):
                if source != LOOSE:
                    path = f"{folder}/{listed.prefix}{name}"
                    shown = listed.prefix + name if is_annotation else path
                    yield _Other(dataset, f"{dataset}/{path}", shown, is_annotation)


def _contents(tree: Tree, others: list[_Other]) -> Iterator[tuple[_Other, bytes | OSError]]:
    """Content of each, or why it can't be had."""
    for first in range(0, len(others), BATCH):
        some = others[first : first + BATCH]
        try:
            contents: list[bytes | OSError] = list(tree.read_many(tree.find_many([other.path for other in some])))
        except OSError:  # some can't be read: find out which
            contents = [_tried(tree, other.path) for other in some]
        yield from zip(some, contents, strict=True)


def _tried(tree: Tree, path: str) -> bytes | OSError:
    try:
        return tree.read(tree.find(path))
    except OSError as error:
        return error


def _why_not(tree: Tree, path: str, *, is_annotation: bool) -> str:
    """Why a file is no annotation, or no JSON file."""
    try:
        data = tree.read(tree.find(path))
    except OSError as error:
        return in_words(error)
    try:
        value = read_object(data) if is_annotation else read_json(data)
    except AnnotationError as error:
        return str(error)
    fault = (size_fault(value) or annotation_fault(value)) if is_annotation else ""
    return fault or "couldn't be read, or was another one, while it was looked at"


def _known_names(storage: LocalStorage, report: VerifyReport) -> tuple[set[Any], set[Any]]:
    """Classes and tags that ``meta.json`` knows."""
    try:
        meta = read_object(storage.read(layout.META))
    except FileNotFoundError:
        return set(), set()  # a defect of its own, or a link that leads nowhere
    except (BlobdirError, OSError) as error:
        report.add("meta", layout.META, in_words(error))
        return set(), set()
    found = []
    for key, name in (("classes", "title"), ("tags", "name")):
        items = meta.get(key, [])
        if not isinstance(items, list) or not all(
            isinstance(item, dict) and isinstance(item.get(name), str) for item in items
        ):
            report.add("meta", layout.META, f"{key} must be a list of objects with a {name} each")
            items = items if isinstance(items, list) else []
        found.append({item[name] for item in items if isinstance(item, dict) and isinstance(item.get(name), str)})
    return found[0], found[1]


def _side_files(tree: Tree, dataset: str) -> dict[str, list[_Listed]]:
    """Folder of a dataset -> what is in it and below, of the kind that belongs to images."""
    found: dict[str, list[_Listed]] = {layout.ANNOTATIONS: []}
    try:
        folders = [name for name in tree.names(tree.find(dataset)) if is_side_folder(name)]
    except OSError:  # a dataset that only its pickle's name makes
        return found
    for folder in folders:
        root = tree.find(f"{dataset}/{folder}", follow=False)
        suffix = FOLDERS.get(folder, "")
        found[folder] = []
        for row in tree.index.walk(root) if tree.is_directory(root) else ():
            below = tree.path(row)[len(dataset) + len(folder) + 2 :]
            children, names = tree.children(row), tree.names(row)
            sources = tree.index.source[children.start : children.stop].tolist()
            kept = [
                (name, source)
                for name, source in zip(names, sources, strict=True)
                if source != DIRECTORY and name.endswith(suffix)
            ]
            found[folder].append(_Listed(f"{below}/" if below else "", [n for n, _ in kept], [s for _, s in kept]))
    return found


def _check_names(
    dataset: DatasetView, files: dict[str, list[_Listed]], incomplete: set[str], report: VerifyReport
) -> None:
    """Images without annotation, and files of images that aren't there."""
    names = dataset.names
    of = {folder: {f.prefix + name for f in listed for name in f.names} for folder, listed in files.items()}
    annotations = of[layout.ANNOTATIONS]
    for folder in (layout.ITEMS, layout.ANNOTATIONS):
        path = layout.join(dataset.path, folder)
        if path in incomplete:
            report.add("not-checked", path, "its list isn't complete, so nothing can be said to be missing there")
    if layout.join(dataset.path, layout.ANNOTATIONS) not in incomplete:
        for name in names:
            if f"{name}.json" not in annotations and f"{splitext(name)[0]}.json" not in annotations:
                report.add("image-without-annotation", dataset.path, name)
    if layout.join(dataset.path, layout.ITEMS) not in incomplete:
        _check_owners(dataset.path, names, of, report)


def _check_owners(dataset: str, names: list[str], files: dict[str, set[str]], report: VerifyReport) -> None:
    """Files of images that aren't there."""
    known: set[str] = set()
    for folder, found in files.items():
        suffix = FOLDERS.get(folder)
        over = sorted(found - {f"{name}{suffix}" for name in names}) if suffix else sorted(found)
        if over and not known:
            known = {*names, *(splitext(name)[0] for name in names)}
        is_annotation = folder == layout.ANNOTATIONS
        for name in over:
            possible = bases(f"{folder}/{name}")
            if possible and known.isdisjoint(possible):
                code = "annotation-without-image" if is_annotation else "side-without-image"
                report.add(code, dataset, name if is_annotation else f"{folder}/{name}")
