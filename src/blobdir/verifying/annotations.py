"""Annotations, images and the other files of images: what is in them, and which belong together."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from itertools import repeat
from posixpath import splitext
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from blobdir.annotations import meta_problems, read_object
from blobdir.discovery import layout
from blobdir.errors import BlobdirError
from blobdir.filenames import is_image_name
from blobdir.index import DIRECTORY, LINK, LOOSE
from blobdir.packing.sidefiles import FOLDERS, bases, is_side_folder
from blobdir.sdkrules import classes_demanded, meta_faults, settings_fault, tags_demanded, view_fault
from blobdir.smallfiles import ANNOTATION, HEAD, IMAGE, INFO, JSON, META, Known, look_at, text_faults
from blobdir.verifying.findings import in_words
from blobdir.verifying.looking import Job, Looking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from blobdir.datasets import DatasetView, ProjectView
    from blobdir.sources import Entry, LocalStorage
    from blobdir.tree import Tree
    from blobdir.verifying.findings import VerifyReport
    from blobdir.verifying.places import Folders

FILES = 5000
"""Files that a process looks at in one go."""
BATCH = 500
_JSON: Final = ".json"
_KINDS: Final = {layout.ANNOTATIONS: ANNOTATION, "meta": META, "img_info": INFO}


class AnnotationCheck:
    """Every image has an annotation, every annotation an image; each is one, and names what ``meta.json`` knows.

    Images that are files, and the other files of images, are looked at by the way: images by how they begin. A context
    manager: many files are looked at by processes beside this one, from its beginning on.

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
        self._known = _known_names(storage, report)
        jobs = [job for dataset in datasets for job in _jobs(storage.root, folders, dataset)]
        for job in jobs:
            self._count(job.kind, job.prefix, len(job.names))
        self._looking = Looking(jobs, self._known, processes, follow_links=storage.follow_links)

    @property
    def shapes(self) -> dict[str, str]:
        """Of the classes that ``meta.json`` knows."""
        return {name: shape for name, (shape, _) in self._known.classes.items()}

    def __enter__(self) -> Self:
        self._looking.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._looking.__exit__(kind, error, trace)

    def _count(self, kind: str, path: str, number: int) -> None:
        if kind != ANNOTATION:
            self._report.files += number
        if kind == IMAGE and not path.startswith(f"{layout.ITEMS}/"):
            self._report.masks += number

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
        tree, total = project.tree, 0
        others: list[_Other] = []
        for dataset in project.values():
            files = _side_files(tree, dataset.path)
            total += sum(len(listed.names) for listed in files[layout.ANNOTATIONS])
            others += list(_others(dataset.path, files))
            _check_names(dataset, files, incomplete, self._report)
            others += _linked_images(tree, dataset.path)
        for other in others:
            self._count(other.kind, other.name, 1)
        for done, (other, data) in enumerate(_contents(tree, others)):
            if isinstance(data, OSError):
                self._report.add("unreadable", other.dataset, f"{other.name}: {in_words(data)}")
            else:
                for code, text in look_at(other.kind, data, self._known):
                    self._report.add(code, other.dataset, other.name + text)
            if done % 1000 == 0:
                progress(done, total)
        found = sorted(self._looking.remarks(), key=lambda remark: (remark[0].folder, remark[0].kind, remark[1]))
        for job, name, code, text in found:
            self._report.add(code, job.dataset, f"{job.prefix}{name}{text}")
        progress(total, total)
        self._report.annotations += total


def _kind(folder: str, name: str) -> str:
    """What a file of a folder of a dataset must be; empty where nothing is known of it."""
    if folder == layout.ITEMS or FOLDERS.get(folder) != _JSON:
        return IMAGE if is_image_name(name) else ""
    if not name.endswith(_JSON):
        return ""
    return _KINDS.get(folder, JSON)


def _shown(folder: str, below: str) -> str:
    """What stands before names in messages."""
    path = layout.join("" if folder == layout.ANNOTATIONS else folder, below)
    return f"{path}/" if path else ""


def _jobs(root: str, folders: Folders, dataset: str) -> Iterator[Job]:
    """The plain files of a dataset that are, or are of, images."""
    of_dataset = folders[dataset].entries if dataset in folders else []
    for folder in sorted(entry.name for entry in of_dataset if entry.kind == "directory"):
        if folder != layout.ITEMS and not is_side_folder(folder):
            continue
        top = layout.join(dataset, folder)
        todo = [top]
        while todo:
            path = todo.pop()
            if path not in folders:
                continue
            entries = folders[path].entries
            todo += [f"{path}/{entry.name}" for entry in entries if entry.kind == "directory"]
            for kind, names in _by_kind(folder, entries).items():
                for at in range(0, len(names), FILES):
                    part = names[at : at + FILES]
                    yield Job(dataset, os.path.join(root, path), part, kind, _shown(folder, path[len(top) + 1 :]))


def _by_kind(folder: str, entries: list[Entry]) -> dict[str, list[str]]:
    names = [entry.name for entry in entries if entry.kind == "file"]
    if FOLDERS.get(folder) == _JSON:
        return {_kind(folder, _JSON): [name for name in names if name.endswith(_JSON)]}
    return {IMAGE: [name for name in names if _kind(folder, name)]}


@dataclass(frozen=True, slots=True)
class _Other:
    """What isn't a plain file: its dataset, path in the project, name in messages, and kind."""

    dataset: str
    path: str
    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class _Listed:
    """Names in one folder of side files, what they are, and the folder's own path below the first."""

    prefix: str
    names: list[str]
    sources: list[int]


def _others(dataset: str, files: dict[str, list[_Listed]]) -> Iterator[_Other]:
    """What is packed, or a link: for this process."""
    for folder, some in files.items():
        for listed in some:
            if listed.sources.count(LOOSE) == len(listed.sources):
                continue
            for name, source in zip(listed.names, listed.sources, strict=True):
                if source != LOOSE and (kind := _kind(folder, name)):
                    shown = _shown(folder, listed.prefix.rstrip("/")) + name
                    yield _Other(dataset, f"{dataset}/{folder}/{listed.prefix}{name}", shown, kind)


def _linked_images(tree: Tree, dataset: str) -> Iterator[_Other]:
    """Images that are links to files, or to other images."""
    try:
        root = tree.find(f"{dataset}/{layout.ITEMS}", follow=False)
    except OSError:
        return
    for row in tree.index.walk(root) if tree.is_directory(root) else ():
        children = tree.index.children(row)
        for number in np.flatnonzero(tree.index.source[children.start : children.stop] == LINK).tolist():
            path = tree.path(children.start + number)
            if _kind(layout.ITEMS, path):
                yield _Other(dataset, path, path[len(dataset) + 1 :], IMAGE)


def _contents(tree: Tree, others: list[_Other]) -> Iterator[tuple[_Other, bytes | OSError]]:
    """Content of each, or why it can't be had; of images how they begin."""
    for first in range(0, len(others), BATCH):
        some = others[first : first + BATCH]
        yield from zip(some, _together(tree, some) or [_tried(tree, other) for other in some], strict=True)


def _together(tree: Tree, others: list[_Other]) -> Sequence[bytes | OSError]:
    """Content of all; nothing where some can't be read."""
    try:
        rows = tree.find_many([other.path for other in others])
        if any(other.kind == IMAGE for other in others):
            ends = [HEAD if other.kind == IMAGE else tree.size(row) for other, row in zip(others, rows, strict=True)]
            return tree.read_ranges(rows.tolist(), [0] * len(rows), ends)
        return tree.read_many(rows)
    except OSError:
        return []


def _tried(tree: Tree, other: _Other) -> bytes | OSError:
    try:
        return tree.read(tree.find(other.path), 0, HEAD if other.kind == IMAGE else None)
    except OSError as error:
        return error


def _known_names(storage: LocalStorage, report: VerifyReport) -> Known:
    """Classes and tags that ``meta.json`` knows."""
    uploads = bool(report.audience)
    try:
        data = storage.read(layout.META)
        meta, faults = read_object(data), text_faults(data)
    except FileNotFoundError:
        return Known({}, {}, uploads)  # a defect of its own, or a link that leads nowhere
    except (BlobdirError, OSError) as error:
        report.add("meta", layout.META, in_words(error))
        return Known({}, {}, uploads)
    for code, text in faults:
        report.add(code, layout.META, f"{layout.META}{text}")
    found: list[list[dict[str, Any]]] = []
    problems = meta_problems(meta)
    for problem in problems:
        report.add("meta", layout.META, problem)
    for key, name in (("classes", "title"), ("tags", "name")):
        items = meta.get(key, [])
        items = items if isinstance(items, list) else []
        found.append([item for item in items if isinstance(item, dict) and isinstance(item.get(name), str)])
    for fault in () if problems else meta_faults(meta):
        report.add("sdk-meta", layout.META, f"{layout.META}: {fault}")
    if uploads and not problems and not settings_fault(meta) and (fault := view_fault(meta)):
        report.add("sdk-upload", layout.META, f"{layout.META}: {fault}")
    return Known(classes_demanded(found[0]), tags_demanded(found[1]), uploads)


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
            if DIRECTORY in sources or not all(map(str.endswith, names, repeat(suffix))):
                kept = [
                    (name, source)
                    for name, source in zip(names, sources, strict=True)
                    if source != DIRECTORY and name.endswith(suffix)
                ]
                names, sources = [name for name, _ in kept], [source for _, source in kept]
            found[folder].append(_Listed(f"{below}/" if below else "", names, sources))
    return found


def _check_names(
    dataset: DatasetView, files: dict[str, list[_Listed]], incomplete: set[str], report: VerifyReport
) -> None:
    """Images without annotation, and files of images that aren't there."""
    names = dataset.names
    of = {
        folder: set().union(*(map(some.prefix.__add__, some.names) if some.prefix else some.names for some in listed))
        for folder, listed in files.items()
    }
    for folder in (layout.ITEMS, layout.ANNOTATIONS):
        path = layout.join(dataset.path, folder)
        if path in incomplete:
            report.add("not-checked", path, "its list isn't complete, so nothing can be said to be missing there")
    if layout.join(dataset.path, layout.ANNOTATIONS) not in incomplete:
        annotations = of[layout.ANNOTATIONS]
        for name in names:
            if name + _JSON not in annotations and splitext(name)[0] + _JSON not in annotations:
                report.add("image-without-annotation", dataset.path, name)
    if layout.join(dataset.path, layout.ITEMS) not in incomplete:
        _check_owners(dataset.path, names, of, report)


def _check_owners(dataset: str, names: list[str], files: dict[str, set[str]], report: VerifyReport) -> None:
    """Files of images that aren't there, and those that no image uses since each has one by its whole name."""
    called: dict[str, list[str]] = {}
    for folder, found in files.items():
        suffix = FOLDERS.get(folder)
        over = sorted(found.difference([name + suffix for name in names])) if suffix else sorted(found)
        if over and not called:
            called = _called(names)
        what, begin = ("annotation", "") if folder == layout.ANNOTATIONS else ("side", f"{folder}/")
        for name in over:
            possible = bases(f"{folder}/{name}")
            meant = [image for base in possible for image in called.get(base, ())]
            if possible and not meant:
                report.add(f"{what}-without-image", dataset, begin + name)
            elif suffix and all(image + suffix in found for image in meant) and possible:
                text = f"{begin}{name}: {meant[0]} has {meant[0]}{suffix}, so nobody uses this one"
                report.add(f"{what}-unused", dataset, text)


def _called(names: list[str]) -> dict[str, list[str]]:
    """What images may be called, with and without their extension -> their names."""
    called = defaultdict(list)
    for name in names:
        called[name].append(name)
        if (stem := splitext(name)[0]) != name:
            called[stem].append(name)
    return dict(called)
