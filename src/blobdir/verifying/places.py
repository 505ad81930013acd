"""Which blobs a project has and what belongs to each, with all that lies in their folders and shouldn't."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from blobdir.discovery import layout, parts
from blobdir.errors import LinkError
from blobdir.packing.sums import SUMS, split_sums
from blobdir.verifying.blobs import Blob
from blobdir.verifying.findings import in_words

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from blobdir.datasets import DatasetView, ProjectView
    from blobdir.sources import Entry, Folder, LocalStorage
    from blobdir.tree import Tree
    from blobdir.verifying.findings import VerifyReport

    Folders = Mapping[str, Folder]

_HIDES_NAMES = frozenset(
    f"offsets-{reason}"
    for reason in ("truncated", "corrupt", "range", "type", "name", "conflict", "unsafe", "unreadable")
)


def blob_folders(folders: Folders, datasets: list[str]) -> list[str]:
    """``blob/`` and every ``ann.blob/``, those that are there."""
    paths = [layout.BLOB_DIR, *(layout.join(dataset, layout.PACKED_ANNOTATIONS) for dataset in datasets)]
    return [path for path in paths if path in folders]


def pickles_of(folders: Folders, datasets: list[str], blobs: str) -> dict[str, list[str]]:
    """Stem of each blob of the folder `blobs` -> paths of the pickles that refer to it.

    Those of an inner project that has a blob for them do not.
    """
    found: dict[str, list[str]] = {}
    inside = pickles_inside(folders, datasets)
    for dataset in datasets:
        for pickle in parts.find_pickles(folders, dataset):
            if pickle.blobs == blobs and pickle.path not in inside:
                found.setdefault(pickle.stem, []).append(pickle.path)
    return found


def pickles_inside(folders: Folders, datasets: list[str]) -> dict[str, str]:
    """Path of each pickle that is of a blob of an inner project -> path of that project."""
    pickles = [pickle for dataset in datasets for pickle in parts.find_pickles(folders, dataset)]
    inner = parts.inner_projects(datasets, folders.get)
    return {pickle.path: project.path for project in inner for pickle in pickles if project.has(pickle)}


def unlisted(folders: Folders, datasets: list[str], blobs: str) -> list[str]:
    """Folders that can't be listed, where pickles may lie that refer to blobs of the folder `blobs`."""
    return [
        folder.path
        for folder in folders.values()
        if folder.error is not None
        and (folder.path == blobs or (blobs == layout.BLOB_DIR and layout.may_hold_datasets(folder.path, datasets)))
    ]


def find_blobs(storage: LocalStorage, folders: Folders, datasets: list[str], report: VerifyReport) -> list[Blob]:
    """The blobs that can be looked at; what speaks against the others, or can't be looked at, is reported."""
    found = []
    for folder in blob_folders(folders, datasets):
        is_images = folder == layout.BLOB_DIR
        pickles = pickles_of(folders, datasets, folder)
        sums = _check_sums(storage, folders, pickles.keys(), report) if is_images else {}
        used, unused = parts.find_blobs(folders[folder])
        for path in sorted([*used.values(), *unused]):
            name = path.rpartition("/")[2]
            mine = pickles.get(name.rpartition(".")[0], []) if path not in unused else []
            if not is_images:
                _report_unused(path, mine, report, is_used=path not in unused)
            if reason := _why_not(storage, path):
                report.add("not-checked", path, reason)
                continue
            if not mine:
                report.add("not-checked", path, "no offsets are used with it: its members weren't held against any")
            found.append(Blob(path, os.path.join(storage.root, path), mine, sums.get(name, ""), is_images))
        for entry in folders[folder].entries:
            if entry.kind in ("directory", "other") and layout.blob_stem(entry.name) is not None:
                what = "a folder" if entry.kind == "directory" else "a pipe, socket or device"
                report.add("blob-unreadable", layout.join(folder, entry.name), f"is {what}, and a blob is a file")
    return found


def _report_unused(path: str, pickles: list[str], report: VerifyReport, *, is_used: bool) -> None:
    """What opening a project says of ``blob/``, for tars of annotations."""
    if not is_used:
        report.add("blob-twice", path, "isn't used, another one of this name goes before it")
    elif not pickles:
        report.add("blob-unreferenced", path, "no offsets for it are beside it, so its annotations aren't shown")


def _why_not(storage: LocalStorage, path: str) -> str:
    """Why a blob can't be looked at; empty if it can."""
    if not storage.follow_links and storage.escapes(path):
        return "leads outside the project by a symbolic link; --follow-links looks at it"
    if not os.path.isfile(os.path.join(storage.root, path)):
        return "is a symbolic link that leads to no file"
    return ""


def _check_sums(storage: LocalStorage, folders: Folders, used: Collection[str], report: VerifyReport) -> dict[str, str]:
    """What SHA256SUMS says; nothing where there is none."""
    entries = {entry.name: entry for entry in folders[layout.BLOB_DIR].entries}
    path = layout.join(layout.BLOB_DIR, SUMS)
    if SUMS not in entries:
        return {}
    try:
        sums, odd = split_sums(storage.read(path))
    except OSError as error:
        report.add("unreadable", path, in_words(error))
        report.add("not-checked", path, "checksums weren't compared")
        return {}
    for number, line in odd:
        report.add("sums-line", path, f"line {number} isn't a checksum and a name: {os.fsdecode(line[:80])!r}")
    for name in sorted(name for name in sums if "/" in name or name in ("", ".", "..")):
        report.add("not-checked", path, f"names {name!r}, which leads out of {layout.BLOB_DIR}/ and isn't looked at")
        del sums[name]
    tars = {name for name in entries if layout.blob_stem(name) is not None}
    for name in sorted(set(sums) - set(entries)):
        report.add("blob-missing", layout.join(layout.BLOB_DIR, name), f"{SUMS} names it, and it isn't there")
    for name in sorted(name for name in tars - set(sums) if name.rpartition(".")[0] in used):
        report.add("checksum-missing", layout.join(layout.BLOB_DIR, name), f"isn't named in {SUMS}")
    for name in sorted(set(sums) & set(entries) - tars):
        report.add("not-checked", layout.join(layout.BLOB_DIR, name), f"{SUMS} names it, and it is no tar")
    return sums


def links_of(folders: Folders) -> Iterator[tuple[str, Entry]]:
    """Path of each symbolic link of a project, and its entry."""
    for folder in folders.values():
        for entry in folder.entries:
            if entry.kind == "link":
                yield layout.join(folder.path, entry.name), entry


def is_made_by_blobs(tree: Tree, folder: Folder) -> bool:
    """Whether a folder is a link to one that isn't on the disk, since all that readers see in it lies in blobs."""
    if not isinstance(folder.error, LinkError):
        return False
    try:
        row = tree.find(folder.path)
    except OSError:
        return False
    is_known = not any(defect.path == folder.path for defect in tree.defects)
    return is_known and tree.is_directory(row) and len(tree.index.children(row)) > 0


def incomplete_folders(project: ProjectView[DatasetView], folders: Folders) -> set[str]:
    """Folders of images or annotations whose lists are shorter than the truth."""
    found = set()
    for defect in project.defects:
        if defect.code in _HIDES_NAMES:
            found.add(layout.shown_by(defect.path))
    for folder in folders.values():
        if folder.error is None:
            continue
        if is_made_by_blobs(project.tree, folder):
            root = project.tree.storage.directory
            if os.path.relpath(os.path.realpath(os.path.join(root, folder.path)), root) in found:
                found.add(folder.path)
        else:
            found.add(folder.path)
            found.update(layout.join(folder.path, name) for name in (layout.ITEMS, layout.ANNOTATIONS))
    return found
