"""Changes of a project that haven't ended: a writer that is at it is waited for, one that has died is a defect.

The writing side is in `blobdir.packing.journal`, what lies on disk in between in `blobdir.packing.journalfile`.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Final

from blobdir.descriptors import none_left
from blobdir.discovery import layout
from blobdir.discovery.whereabouts import Whereabouts
from blobdir.inside import read_open
from blobdir.projectlock import JOURNAL, STATE_DIR, changes, is_being_changed, is_hidden, open_state

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from blobdir.discovery.report import Report
    from blobdir.sources import Folder

UNFINISHED: Final = "change-unfinished"
UNREADABLE: Final = "state-unreadable"
OF_THE_MOMENT: Final = frozenset((UNFINISHED, UNREADABLE))
"""Defects that go without any file of the project being another one."""
PUSHING: Final = "pushing.json"
"""In ``.blobdir`` of a project in a bucket from when a push changes it until it's whole."""
_REMOTE: Final = {
    PUSHING: "the project is being pushed, or a push was cut off, so it is half old and half new; open it when that's "
    "done: `blobdir push --delete` goes on",
    JOURNAL: "the project is being changed, or a change was cut off, so it is half old and half new; the next command "
    "that changes it where it lies on a disk finishes that",
}
MARKS: Final = frozenset(_REMOTE)
"""What lies in ``.blobdir`` behind a backend while a change is under way, and after one that was cut off."""
INDEXING: Final = "indexing.json"
"""There too, while an index is written that isn't compared with the project yet: no defect, but it isn't believed."""
WAIT_S: Final = 5.0
"""Seconds that a writer is waited for; once the journal is there, only renames are left."""


def settled(root: str) -> tuple[bytes, bool]:
    """Wait until nobody is in the middle of a change; gives the state, as `changes` does."""
    end = time.monotonic() + WAIT_S
    while True:
        now = changes(root)
        if not now[1] or not is_being_changed(root) or time.monotonic() > end:
            return now
        time.sleep(0.005)


def is_unfinished(root: str) -> bool:
    """Whether a change of a project was begun and not ended, by one who lives or who doesn't, or may have been."""
    return changes(root)[1] or is_hidden(root)


def report(root: str, datasets: Collection[str], into: Report, show: Callable[[str], None]) -> None:
    """Report a change that was cut off: the folders that it touches can't be listed until it's finished.

    Parameters
    ----------
    root : str
    datasets : collection of str
        Paths of the datasets.
    into : Report
    show : callable
        Makes sure that a directory is in the tree.
    """
    if is_hidden(root):
        into.warning(
            UNREADABLE,
            STATE_DIR,
            f"{STATE_DIR}: can't be looked into, so it isn't known whether a change is going on, or was cut off, and "
            "what is shown is half of it; give yourself the right to read it, or have its owner change the project",
        )
    if not changes(root)[1]:
        return
    place = f"{STATE_DIR}/{JOURNAL}"
    message = (
        f"{place}: a change of the project was cut off, so what it was about is half old and half new; the next "
        "command that changes the project finishes it or undoes it, as does blobdir.packing.recover"
    )
    folders = sorted(_touched(root, datasets))
    if not folders:
        into.error(UNFINISHED, place, message)
    for folder in folders:
        show(folder)
        into.incomplete(folder, UNFINISHED, place, message)


def report_push(
    folders: Mapping[str, Folder],
    shown: Collection[str],
    datasets: Collection[str],
    into: Report,
    show: Callable[[str], None],
) -> None:
    """Report that what lies behind a backend is being changed, or that a change was cut off: it may be half of either.

    Nobody knows which lists are, so all are: of every folder that is shown, and of images and annotations.

    A journal lies there where others change the project on a disk of their own, or have copied it with one.
    """
    state = folders.get(STATE_DIR)
    names = {entry.name for entry in state.entries} if state is not None else set()
    for name, message in _REMOTE.items():
        if name in names:
            for folder in sorted({*shown, *_lists_of(datasets)}):
                show(folder)
                into.incomplete(folder, UNFINISHED, f"{STATE_DIR}/{name}", f"{STATE_DIR}/{name}: {message}")


def _lists_of(datasets: Collection[str]) -> set[str]:
    """The root, and the folders of the datasets in which names come and go."""
    return {""} | {layout.join(path, kind) for path in datasets for kind in (layout.ITEMS, layout.ANNOTATIONS)}


def _touched(root: str, datasets: Collection[str]) -> set[str]:
    """Folders of the tree in which names come or go; all that there are where the journal can't be read."""
    try:
        with open(open_state(root, JOURNAL), "rb") as file:
            value = json.loads(read_open(file.fileno(), JOURNAL).decode("utf-8", "surrogateescape"))
        paths = [item[1] for key in ("put", "remove") for item in value[key]]
        found = {folder for path in paths if (folder := _shown_in(path)) is not None}
        if Whereabouts(root, dict(value.get("inodes", {}))).moved:  # then it's about folders of any names
            return found | _lists_of(datasets)
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        if none_left(error):
            raise
        return _lists_of(datasets)
    inside = {part for path in datasets for part in (path, *layout.above(path))} | {""}
    return {folder for folder in found if folder in inside or (_is_name(folder) and _parent(folder) in inside)}


def _is_name(folder: str) -> bool:
    name = folder.rpartition("/")[2]
    return name not in ("", ".", "..", layout.STATE_DIR, layout.BLOB_DIR) and "\0" not in name


def _parent(folder: str) -> str:
    return folder.rpartition("/")[0]


def _shown_in(path: str) -> str | None:
    """The folder of the tree whose names a file of the project has to do with; None for a blob."""
    folder, _, name = path.rpartition("/")
    if layout.is_offsets(name):
        return layout.shown_by(path)
    if folder in (layout.BLOB_DIR, layout.STATE_DIR) or layout.labelled_by(folder):
        return None
    return folder
