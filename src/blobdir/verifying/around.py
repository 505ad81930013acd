"""What lies around images and annotations: links, folders that can't be listed, what a killed change has left."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from blobdir.discovery import layout
from blobdir.discovery.parts import misplaced_pickles
from blobdir.discovery.released import RELEASED, WHAT_TO_DO, read_released
from blobdir.errors import LinkError, UsageError
from blobdir.packing.journalfile import LEFT_OVER, OWN, SAVED, STAGING
from blobdir.packing.sidefiles import FOLDERS
from blobdir.projectlock import JOURNAL, STATE_DIR, check_own, is_being_changed
from blobdir.smallfiles import JSON, Known, look_at, not_read
from blobdir.temporary import is_owned, is_temporary
from blobdir.verifying.findings import in_words
from blobdir.verifying.places import is_made_by_blobs, links_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from blobdir.sources import Entry, LocalStorage
    from blobdir.tree import Tree
    from blobdir.verifying.findings import VerifyReport
    from blobdir.verifying.places import Folders

SDK_FILES = ("key_id_map.json", "obj_class_to_machine_color.json")


def check_links(storage: LocalStorage, folders: Folders, tree: Tree, report: VerifyReport) -> None:
    """Links that lead nowhere, in circles, or out of the project. Those to members of blobs lead somewhere here."""
    for path, entry in links_of(folders):
        full = os.path.join(storage.root, path)
        try:
            os.stat(full)
        except OSError as error:
            if error.errno == errno.ELOOP:
                report.add("link-circular", path, f"leads to {entry.target!r}, and in a circle back to itself")
            elif error.errno in (errno.ENOENT, errno.ENOTDIR) and _is_made_by_blobs(tree, path):
                report.add("sdk-link", path, f"leads to {entry.target!r}, in a blob: nobody but blobdir follows it")
            elif error.errno in (errno.ENOENT, errno.ENOTDIR):
                report.add("link-dangling", path, f"leads to {entry.target!r}, where nothing is")
            else:
                report.add("unreadable", path, in_words(error))
            continue
        real = os.path.realpath(full)
        if not storage.follow_links and storage.escapes(path):
            report.add("link-outside", path, f"leads outside the project, to {entry.target!r}")
            report.add("not-checked", path, "leads outside the project by a symbolic link")
        elif os.path.isdir(real):
            if f"{os.path.realpath(os.path.dirname(full))}/".startswith(real.rstrip("/") + "/"):
                report.add("link-circular", path, f"leads to {entry.target!r}, a folder that it is in itself")
            report.add(
                "not-checked", path, "is a symbolic link to a folder; what is in it is looked at in its own place"
            )


def _is_made_by_blobs(tree: Tree, path: str) -> bool:
    """Whether readers see an image at a path, or a folder of images, where nothing is on the disk."""
    try:
        row = tree.find(path)
    except OSError:
        return False
    return tree.is_member(row) or tree.is_directory(row)


def check_served(tree: Tree, looked_at: Collection[str], report: VerifyReport) -> None:
    """Blobs that readers read from, and that weren't looked at, for whatever reason."""
    for blob in tree.index.header.blobs:
        if blob.defect < 0 and blob.path not in looked_at:
            message = "readers read from it, and it wasn't looked at"
            report.add("blob-not-checked", blob.path, message)


def check_folders(folders: Folders, tree: Tree, report: VerifyReport) -> None:
    """Folders that can't be listed."""
    for folder in folders.values():
        if folder.error is None:
            continue
        if is_made_by_blobs(tree, folder):
            report.add("sdk-link", folder.path, "leads to a folder that only blobs make: nobody but blobdir follows it")
        else:
            report.add("not-checked", folder.path, f"can't be listed: {folder.error.strerror or folder.error}")


def check_pickles(folders: Folders, datasets: Collection[str], report: VerifyReport) -> None:
    """Offsets files that nobody reads, because of where they lie."""
    for path in misplaced_pickles(folders, datasets):
        report.add("offsets-misplaced", path, "lies where nobody reads it; one of a dataset lies in its folder")


def check_kinds(folders: Folders, datasets: list[str], report: VerifyReport) -> None:
    """Files where folders belong, and folders where files do: readers pass over both."""
    for dataset in datasets:
        for entry in folders[dataset].entries if dataset in folders else ():
            name, path = entry.name, layout.join(dataset, entry.name)
            if not layout.is_folder_of_format(path):
                continue
            _check_folder(entry, path, report)
            for below in folders[path].entries if path in folders and name in FOLDERS else ():
                if below.kind == "directory" and below.name.endswith(FOLDERS[name]):
                    report.add("not-a-file", layout.join(path, below.name), "is a folder, and a file belongs there")
    for entry in folders[""].entries:
        if entry.name == layout.BLOB_DIR:
            _check_folder(entry, entry.name, report)
        if entry.name == STATE_DIR and entry.kind != "directory":
            report.add("not-a-folder", STATE_DIR, "is no folder, and one belongs there: the project can't be changed")


def check_root_files(storage: LocalStorage, folders: Folders, report: VerifyReport) -> None:
    """Files beside ``meta.json`` that the SDK writes: whether they are JSON."""
    for entry in folders[""].entries:
        if entry.name not in SDK_FILES or entry.kind == "directory":
            continue
        try:
            found = look_at(JSON, storage.read(entry.name), Known({}, {}))
        except (FileNotFoundError, LinkError, IsADirectoryError):
            continue  # said of links
        except OSError as error:
            found = [not_read(error)]
        for code, text in found:
            report.add(code, entry.name, f"{entry.name}{text}")


def _check_folder(entry: Entry, path: str, report: VerifyReport) -> None:
    """What stands where a folder belongs, and is none."""
    if entry.kind in ("file", "other"):
        what = "a file" if entry.kind == "file" else "a device, pipe or socket"
        report.add("not-a-folder", path, f"is {what}, and a folder belongs there: what it should hold isn't there")


def check_state(storage: LocalStorage, folders: Folders, report: VerifyReport) -> None:
    """What a change that was cut off has left, in ``.blobdir`` and beside what it was going to replace."""
    state = {entry.name for entry in folders[STATE_DIR].entries} if STATE_DIR in folders else set()
    if is_being_changed(storage.root):
        report.add("not-checked", STATE_DIR, "another process is changing the project: look again when it's done")
        return
    entries = folders[STATE_DIR].entries if STATE_DIR in folders else ()
    state -= _check_own(storage, state, report)
    is_file = any(layout.join(STATE_DIR, entry.name) == RELEASED and entry.kind == "file" for entry in entries)
    if is_file and (why := read_released(storage.root)[1]):  # what is no file is said in another place
        report.add("released-unreadable", RELEASED, f"{why.removeprefix(RELEASED).strip()}; {WHAT_TO_DO}")
    journal = layout.join(STATE_DIR, JOURNAL)
    if JOURNAL in state and report.wants("change-unfinished", journal, first=True):  # opening a project says more of it
        report.add("change-unfinished", journal, "a change was cut off; the next one finishes it, or `verify --repair`")
    for name in LEFT_OVER if JOURNAL not in state else ():
        if name in state:
            report.add("change-leftover", layout.join(STATE_DIR, name), "a change that was cut off has left files")
    _check_saved(state, report)
    for folder in folders.values():
        if _is_staged(folder.path):
            continue
        for name in [entry.name for entry in folder.entries if is_temporary(entry.name)]:
            path = layout.join(folder.path, name)
            if not is_owned(os.path.join(storage.root, path)):
                report.add("change-leftover", path, "was being written, and wasn't ended")


def _check_saved(state: set[str], report: VerifyReport) -> None:
    for name in sorted(state):
        if name.startswith(SAVED):
            text = "another program has written it when a change was made: look whether you want it, and remove it"
            report.add("file-saved", layout.join(STATE_DIR, name), text)


def _check_own(storage: LocalStorage, state: set[str], report: VerifyReport) -> set[str]:
    """Report what lies in ``.blobdir`` where another kind of thing belongs; gives the names."""
    odd = set()
    for name in OWN.keys() & state:
        path = layout.join(STATE_DIR, name)
        full = os.path.join(storage.root, path)
        try:
            check_own(full, is_folder=OWN[name])
        except UsageError as error:
            report.add("state-odd", path, f"{str(error).removeprefix(f'{full}: ')}; until then, nobody can change it")
            odd.add(name)
    return odd


def _is_staged(path: str) -> bool:
    return path.startswith(layout.join(STATE_DIR, STAGING))
