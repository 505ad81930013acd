"""Which files of a remote project a fetch takes: all, or those of some datasets with their blobs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from blobdir.datasets import no_dataset
from blobdir.discovery import layout
from blobdir.discovery.root import check_root
from blobdir.errors import NotAProjectError, ReadError, SourceChangedError, UsageError
from blobdir.filenames import parents_of
from blobdir.moving.remotefiles import JOURNAL, PUSHING, ask_versions, is_own

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from blobdir.moving.remotefiles import RemoteFiles
    from blobdir.sources import RemoteStorage, Stat

SMALL_BYTES = 1 << 20
_NAME_MAX = 255


@dataclass(slots=True)
class FetchPlan:
    """What is fetched.

    Attributes
    ----------
    small, large : dict
        Path -> attributes of what is fetched in one request, and in ranges: blobs, and other large files.
    folders : list of str
        Those that there are, even with nothing in them.
    datasets : list of str or None
        Paths of the datasets that are chosen; None for all.
    left_out : dict
        Name below the root -> why it can't be fetched.
    """

    small: dict[str, Stat] = field(default_factory=dict)
    large: dict[str, Stat] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    datasets: list[str] | None = None
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes, as far as they are known."""
        return sum(max(0, stat.size) for files in (self.small, self.large) for stat in files.values())


def check_project(storage: RemoteStorage, found: RemoteFiles) -> None:
    """Make sure that what lies at a place is a project, whole.

    Raises
    ------
    NotAProjectError
    SourceChangedError
        It's being pushed or changed, or that was cut off: a copy of it, without its journal, would look whole.
    """
    if not found.files and not found.folders:
        raise NotAProjectError(f"{storage.url}: doesn't exist, or is empty")
    if PUSHING in found.own:
        raise SourceChangedError(
            f"{storage.url}: is being pushed, or a push into it was cut off ({PUSHING} says which); fetch when it's "
            "done: `blobdir push --delete` goes on. If nobody has that project any more, remove that file, and "
            "--with-defects fetches what is there"
        )
    if JOURNAL in found.own:
        raise SourceChangedError(
            f"{storage.url}: is being changed, or a change was cut off ({JOURNAL}); fetch when it's done: the next "
            "command that changes it where it lies finishes it"
        )
    folders = found.as_folders()
    check_root(storage, folders, layout.read_layout(folders))


def make_plan(storage: RemoteStorage, found: RemoteFiles, datasets: Sequence[str]) -> FetchPlan:
    """Decide what is fetched.

    Parameters
    ----------
    storage
    found : RemoteFiles
    datasets : sequence of str
        Names or paths; all if empty.

    Raises
    ------
    UsageError
        There is no such dataset.
    ReadError
        A name can't be one of a file here, or a size can't be had.
    """
    choice = Choice(found, datasets)
    plan = FetchPlan(datasets=choice.datasets)
    plan.left_out = {name: odd.why for name, odd in found.odd.items() if not is_own(name) and choice.takes(name)}
    plan.folders = sorted(path for path in found.folders if choice.takes_folder(path) and not is_own(path))
    if not storage.has_folders:  # there it's an object that somebody has made by hand, and beside offsets says nothing
        shown = {f"{path.rpartition('/')[0]}/{layout.ITEMS}" for path in found.files if layout.is_offsets(path)}
        full = {parent for path in found.files for parent in parents_of(path)}
        plan.folders = [path for path in plan.folders if path in full or path not in shown]
    large: dict[str, Stat] = {}
    for path, stat in found.files.items():
        if not choice.takes(path):
            continue
        _check_name(storage.url, path)
        if layout.blob_stem(path.rpartition("/")[2]) is not None or stat.size > SMALL_BYTES:
            large[path] = stat
        else:
            plan.small[path] = stat
    plan.large = ask_versions(storage, found.files, large)
    if silent := [path for path, stat in plan.large.items() if stat.size < 0]:
        raise ReadError(f"{storage.url}: {silent[0]}: its size can't be had; try again")
    return plan


def _check_name(url: str, path: str) -> None:
    for name in path.split("/"):
        if len(name.encode("utf-8", "surrogateescape")) > _NAME_MAX:
            raise ReadError(f"{url}: {path}: has a name of more than {_NAME_MAX} bytes, which can't be one of a file")


class Choice:
    """Which files belong to the chosen datasets: what lies in them, their blobs, and what belongs to no dataset.

    Parameters
    ----------
    found : RemoteFiles
    datasets : sequence of str
        Names or paths; all if empty.

    Attributes
    ----------
    datasets : list of str or None
        Paths of those that are chosen; None for all.
    """

    def __init__(self, found: RemoteFiles, datasets: Sequence[str]) -> None:
        self._all = not datasets
        self.datasets: list[str] | None = None
        if self._all:
            return
        self._datasets = set(layout.read_layout(found.as_folders()).datasets)
        self.datasets = choose_datasets(sorted(self._datasets), datasets)
        self._wanted = set(self.datasets)
        keys = layout.blob_keys(found.files)
        mine = {keys[path].casefold() for path in keys if layout.is_offsets(path) and self._owner(path) in self._wanted}
        self._blobs = {
            path: key.casefold() in mine for path, key in keys.items() if path.startswith(f"{layout.BLOB_DIR}/")
        }

    def takes(self, path: str) -> bool:
        """Whether a file is wanted."""
        if self._all:
            return True
        if path in self._blobs:
            return self._blobs[path]
        owner = self._owner(path)
        return not owner or owner in self._wanted

    def takes_folder(self, path: str) -> bool:
        """Whether a folder is wanted, even if nothing is in it."""
        if self._all:
            return True
        if path in self._datasets:
            return path in self._wanted
        owner = self._owner(path)
        return owner in self._wanted if owner else any(path in parents for parents in map(_with_parents, self._wanted))

    def _owner(self, path: str) -> str:
        """The dataset that a path lies in; of nested ones, the innermost."""
        return next((folder for folder in _with_parents(path.rpartition("/")[0]) if folder in self._datasets), "")


def choose_datasets(datasets: Sequence[str], typed: Iterable[str]) -> list[str]:
    """Paths of the datasets that a user means, by path or by name.

    Raises
    ------
    UsageError
        There is no such dataset, or two are called so.
    """
    names: dict[str, list[str]] = {}
    for path in datasets:
        names.setdefault(layout.dataset_name(path), []).append(path)
    chosen = []
    for name in typed:
        meant = names.get(name, [])
        if name in datasets:
            meant = [name]
        if not meant:
            raise no_dataset(name, names)
        if len(meant) > 1:
            raise UsageError(f"{name}: could be each of {' and '.join(meant)}; give the path")
        chosen += meant
    return list(dict.fromkeys(chosen))


def _with_parents(path: str) -> Iterable[str]:
    while path:
        yield path
        path = path.rpartition("/")[0]
