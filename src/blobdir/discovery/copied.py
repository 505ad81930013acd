"""Links to folders in a copy that has none: what lies behind one mustn't become datasets or images that there weren't.

Readers see a link inside a project as a link: no dataset is found through it, and no image, but for a dataset's own
``img/`` that is one. A copy has the folder itself in its place, and would show more than the project.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blobdir.discovery import layout
from blobdir.filenames import parents_of
from blobdir.inside import MOST_WAYS
from blobdir.sources import Stat
from blobdir.sources.keys import folders_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from blobdir.sources import Folder

WHY = "is a link to a folder, and a copy of it would show datasets or images that the project doesn't"
TOO_MANY = f"is a link to a folder to which more than {MOST_WAYS} ways lead"


def datasets_of(folders: Iterable[str], files: Iterable[str]) -> list[str]:
    """Paths of the datasets of a project with these folders and files."""
    return layout.read_layout({folder.path: folder for folder in _tree(folders, files)}).datasets


def misleading(
    links: Collection[str], folders: Collection[str], files: Collection[str], known: Collection[str]
) -> set[str]:
    """The links that mustn't be copied as folders.

    Parameters
    ----------
    links : collection of str
        Paths of links to folders.
    folders, files : collection of str
        Paths of all that would be copied, through links too.
    known : collection of str
        Paths of the project's datasets, as readers see them.
    """
    images = tuple(f"{dataset}/{layout.ITEMS}/" for dataset in known)
    found = {link for link in links if link.startswith(images)}
    while True:
        left = [path for path in folders if not is_behind(path, found)]
        more = datasets_of(left, (path for path in files if not is_behind(path, found)))
        new = {_link_to(path, links) for path in more if path not in known} - found - {""}
        if not new:
            return found
        found |= new


def is_below(path: str, links: Collection[str]) -> bool:
    """Whether a path lies behind one of some links."""
    return any(parent in links for parent in parents_of(path))


def is_behind(path: str, links: Collection[str]) -> bool:
    """Whether a path is one of some links, or lies behind one."""
    return path in links or is_below(path, links)


def _link_to(path: str, links: Collection[str]) -> str:
    """The outermost link that a path leads through; empty where it leads through none."""
    return next((part for part in (*layout.above(path), path) if part in links), "")


def _tree(folders: Iterable[str], files: Iterable[str]) -> Iterator[Folder]:
    known = set(folders)
    stats = dict.fromkeys(files, Stat("file"))
    for path in (*known, *stats):
        known.update(parents_of(path))
    return folders_of(known - {""}, stats)
