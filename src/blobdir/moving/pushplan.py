"""What a push will upload, replace and remove: decided in full before anything is touched.

Readers may open the project at any moment of it, and it may be cut off at any. So, while it's what it was before:

1. new blobs go up, if a whole project is there; no pickle names them yet.

Then ``.blobdir/pushing.json`` is written, see `blobdir.moving.claim`, and the index and ``meta.json`` are removed: what
is there isn't taken for a project, and `fetch` refuses it. And then

2. pickles are removed that the project doesn't have, or whose blob will be replaced or removed: at no moment does an
   old pickle lead into a new blob;
3. blobs are replaced and removed;
4. annotations and all other files are uploaded, replaced and removed;
5. pickles are uploaded; ``meta.json`` is the last, if the project here is still as it was listed;
6. all is listed, the index is written, the mark removed, and all listed once more: `blobdir.moving.finishing`.

What is removed is what was listed, belongs to the place's own project, and isn't in the project here. What lies in a
folder that is another project's belongs to that, whole or not: then nothing is done at all.

Who has opened the project before keeps its pickles, and is told by the version of a blob that it was replaced.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from blobdir.discovery import layout
from blobdir.errors import UsageError
from blobdir.filenames import parents_of
from blobdir.moving.remotefiles import JOURNAL, PUSHING, is_own, keeps_markers
from blobdir.sources.keys import can_be_removed
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from blobdir.moving.localfiles import LocalFiles
    from blobdir.moving.remotefiles import RemoteFiles
    from blobdir.sources import RemoteStorage

SHOWN = 3


@dataclass(slots=True)
class PushPlan:
    """Paths by what becomes of them.

    Attributes
    ----------
    new, replaced, removed : list of str
        Files to upload to a free place, over another content, and files to remove, which aren't in the project.
    same : int
        Files that are left as they are.
    folders, old_folders : list of str
        Empty folders to make, and folders to remove, if the backend has such a thing.
    markers, odd : dict
        Objects to remove that stand for folders, and those that can't be files of a project: name for people -> the
        backend's name.
    """

    new: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    same: int = 0
    folders: list[str] = field(default_factory=list)
    old_folders: list[str] = field(default_factory=list)
    markers: dict[str, str] = field(default_factory=dict)
    odd: dict[str, str] = field(default_factory=dict)

    @property
    def changes(self) -> bool:
        """Whether anything is there afterwards that wasn't, or the other way round."""
        come, gone = self.new or self.folders, self.removed or self.old_folders or self.markers or self.odd
        return bool(come or self.replaced or gone)

    def blobs(self, paths: Iterable[str]) -> list[str]:
        """Those of `paths` that are blobs."""
        return [path for path in layout.blob_keys(paths) if not layout.is_offsets(path)]

    def pickles(self, paths: Iterable[str]) -> list[str]:
        """Those of `paths` that are offsets pickles."""
        return [path for path in paths if layout.is_offsets(path)]

    def others(self, paths: Iterable[str]) -> list[str]:
        """Those of `paths` that are neither, nor ``meta.json``."""
        blobs = set(self.blobs(paths))
        return [path for path in paths if path not in blobs and not layout.is_offsets(path) and path != layout.META]

    def stale_pickles(self, there: RemoteFiles) -> list[str]:
        """Pickles behind the backend that have to go before a blob is touched."""
        keys = layout.blob_keys(self.blobs([*self.new, *self.replaced, *self.removed]))
        touched = {key.casefold() for key in keys.values()}
        known, gone = layout.blob_keys(self.pickles(there.files)), set(self.removed)
        return [path for path in known if path in gone or known[path].casefold() in touched]

    def early_blobs(self, there: RemoteFiles) -> list[str]:
        """Blobs that nothing behind the backend speaks of: they can go up while the old project is still read."""
        known = {key.casefold() for key in layout.blob_keys(there.files).values()}
        keys = layout.blob_keys(self.blobs(self.new))
        return [path for path in keys if keys[path].casefold() not in known]


def make_plan(
    here: LocalFiles, there: RemoteFiles, same: set[str], storage: RemoteStorage, *, removing: bool
) -> PushPlan:
    """Decide what becomes of each file.

    Parameters
    ----------
    here, there
    same : set of str
        Files that are there already, and stay.
    storage : RemoteStorage
        Where they go.
    removing : bool
        Whether what the project doesn't have is removed.
    """
    plan = PushPlan(same=len(same))
    plan.new = [path for path in here.files if path not in there.files]
    plan.replaced = [path for path in here.files if path in there.files and path not in same]
    if removing:
        plan.removed = [path for path in there.files if path not in here.files]
    plan.folders = _folders_to_make(here, there, storage, plan.removed)
    if removing:
        empty = set(here.empty)
        kept = empty | {parent for path in (*here.files, *here.empty) for parent in parents_of(path)}
        if storage.has_folders:
            plan.old_folders = [path for path in there.folders if path not in kept and not is_own(path)]
        plan.markers = {
            name: marker.key
            for name, marker in there.markers.items()
            if (marker.folder not in empty or name != f"{marker.folder}/")
            and can_be_removed(storage.fs, storage.protocols, marker.key)
        }
        plan.odd = {name: odd.key for name, odd in there.odd.items()}
    return plan


def _folders_to_make(here: LocalFiles, there: RemoteFiles, storage: RemoteStorage, removed: list[str]) -> list[str]:
    """Empty folders of the project that aren't there, or won't be when what lies in them is removed."""
    if keeps_markers(storage):
        return [path for path in here.empty if f"{path}/" not in there.markers]
    if not storage.has_folders:
        return []
    emptied = {parent for path in removed for parent in parents_of(path)}
    return [path for path in here.empty if path not in there.folders or path in emptied]


def check_target(
    storage: RemoteStorage,
    mine: Container[str],
    there: RemoteFiles,
    *,
    resume: bool,
    removing: bool = False,
    may_remove: bool = True,
) -> None:
    """Refuse what can't be meant, or can't be done. Asked before anything there is touched.

    Parameters
    ----------
    storage
    mine : container of str
        Files that may be there: those of the project.
    there
    resume, removing : bool
        Whether files may be there already, and whether those that aren't `mine` go.
    may_remove : bool
        Whether the command could remove such files, if it were asked to.

    Raises
    ------
    UsageError
    """
    url = storage.url
    if JOURNAL in there.own:
        raise UsageError(
            f"{url}: is being changed where it lies, or a change was cut off ({JOURNAL}); the next command that "
            "changes it there finishes that; if it's a copy that was made in between, remove that file"
        )
    lies = [*there.files, *there.odd]
    if not lies:
        return
    if not (resume or removing):
        instead = "--force replaces them" if may_remove else "or choose another place"
        raise UsageError(f"{url}: holds {counted(len(lies), 'file')} already; --resume goes on, {instead}")
    foreign = [path for path in there.files if path not in mine] + list(there.odd)
    _check_others(url, there, foreign)
    if not removing:
        if foreign:
            why = (
                " that the project doesn't have; --delete removes what it doesn't have (with --dry-run, only says what "
                "that is)"
                if may_remove
                else ", which no earlier try from here has put there; remove that with the storage's own tools"
            )
            raise UsageError(f"{url}: holds {_some(foreign)}{why}, or choose another place")
        return
    if foreign and PUSHING not in there.own and not any(map(_is_blob_path, lies)):
        raise UsageError(
            f"{url}: holds {counted(len(lies), 'file')}, and isn't a blob project (no {layout.BLOB_DIR}/): "
            f"nothing is replaced or removed there; choose another place, or empty it yourself"
        )
    for name, odd in there.odd.items():
        if not can_be_removed(storage.fs, storage.protocols, odd.key):
            raise UsageError(
                f"{url}: {name!r} {odd.why}, and can't be removed from here: its backend could take the name for "
                "another file's; remove it with the storage's own tools"
            )


def _check_others(url: str, there: RemoteFiles, foreign: list[str]) -> None:
    """Refuse a place with other projects in it, and say what is to be done."""
    others = projects_below(there, foreign)
    for folder, path in others.items():
        more = f" and {len(others) - 1:,} more" if len(others) > 1 else ""
        raise UsageError(
            f"{url}: holds another project, {folder}/{more} ({path} is of one), which isn't removed, and whose "
            f"datasets would be taken for this one's; move {url}/{folder} to a place outside, or remove it, with the "
            "storage's own tools, and try again; or choose another place"
        )


def projects_below(there: RemoteFiles, foreign: Iterable[str]) -> dict[str, str]:
    """Folders that are other projects, whole or not, packed or not -> what tells so.

    A ``meta.json`` tells it, but for one in a dataset's own folders, where it's an annotation; whatever is in a
    ``.blobdir/``; and a tar in a ``blob/``, with which the first push to a place may have ended.

    Parameters
    ----------
    there : RemoteFiles
    foreign : iterable of str
        Files that the project here doesn't have.
    """
    datasets = set(layout.read_layout(there.as_folders()).datasets)
    found: dict[str, str] = {}
    for path in (*foreign, *there.folders):
        parts = path.split("/")
        if layout.STATE_DIR in parts[1:]:
            found.setdefault("/".join(parts[: parts.index(layout.STATE_DIR, 1)]), path)
        elif len(parts) > 1 and parts[-1] == layout.META and path not in there.folders:
            folder = path.rpartition("/")[0]
            if not _is_of_images(folder, datasets) or _has_datasets(there, folder):
                found.setdefault(folder, path)
        elif len(parts) > 2 and parts[-2] == layout.BLOB_DIR and layout.blob_stem(parts[-1]) is not None:
            found.setdefault("/".join(parts[:-2]), path)
    return found


def _is_of_images(path: str, datasets: set[str]) -> bool:
    """Whether a folder is a dataset's own ``ann/`` or the like, or lies in one."""
    return any(
        parent in datasets and layout.is_item_folder(path[len(parent) + 1 :].split("/", 1)[0])
        for parent in parents_of(path)
    )


def _has_datasets(there: RemoteFiles, folder: str) -> bool:
    ends = (f"/{layout.ITEMS}", f"/{layout.ANNOTATIONS}")
    return any(path.startswith(f"{folder}/") and path.endswith(ends) for path in there.folders)


def _is_blob_path(path: str) -> bool:
    return path.startswith(f"{layout.BLOB_DIR}/")


def _some(paths: list[str]) -> str:
    shown = ", ".join(paths[:SHOWN])
    more = f" and {counted(len(paths) - SHOWN, 'more file')}" if len(paths) > SHOWN else ""
    return f"{shown}{more}"
