"""Keys of a storage as files and folders: an object store has no folders, and allows any name. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from fsspec import AbstractFileSystem
from fsspec.asyn import AsyncFileSystem

from blobdir.filenames import parents_of
from blobdir.sources.model import Entry, Folder, Stat
from blobdir.sources.transports.answers import stat_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    Keys = Sequence[tuple[str, str, dict[str, Any]]]
    """What is listed: the name below the root as it is, the backend's own name, and what the backend says of it."""

FLAT: Final = frozenset(("s3", "s3a", "gs", "gcs"))
"""Storages whose backends take any key for what it is; others go by folders, or have URLs of it made shorter."""
NO_PATH: Final = "key-no-path"
BOTH: Final = "file-and-folder"
_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class Odd:
    """A key with content that can't be a file beside the others.

    Attributes
    ----------
    key : str
        The backend's own name.
    stat : Stat
    file : str
        The file that it lies below; empty where its name is no path.
    """

    key: str
    stat: Stat
    file: str = ""

    @property
    def why(self) -> str:
        """What is wrong with it."""
        if self.file:
            return f"lies below {self.file}, which is a file; on a disk, nothing can be both file and folder"
        return "can't be the path of a file (an empty name, . or .., NUL, or a slash at the end)"


@dataclass(frozen=True, slots=True)
class Marker:
    """An empty object that stands for a folder.

    Attributes
    ----------
    key : str
        The backend's own name.
    folder : str
        Its path; empty where there can't be such a folder.
    """

    key: str
    folder: str


@dataclass(slots=True)
class Sorted:
    """What was listed.

    A name that is both a file's and a folder's is the file's; what lies below it is odd. An empty one is a marker.

    Attributes
    ----------
    files : dict
        Path -> backend's name, attributes, and what the backend says.
    folders : set of str
        Paths of all folders, those with something in them and those that the backend says.
    markers : dict
        Name below the root -> `Marker`.
    odd : dict
        Name below the root -> `Odd`.
    """

    files: dict[str, tuple[str, Stat, dict[str, Any]]] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    markers: dict[str, Marker] = field(default_factory=dict)
    odd: dict[str, Odd] = field(default_factory=dict)

    def faults(self) -> Iterator[tuple[str, str, str]]:
        """Code, path and message of what can't be shown; one for each file with keys below it."""
        below: dict[str, list[str]] = {}
        for name, odd in self.odd.items():
            if odd.file:
                below.setdefault(odd.file, []).append(name)
            else:
                yield NO_PATH, name, f"{name!r}: {odd.why}; it isn't shown: rename it, or remove it"
        for path, names in below.items():
            more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
            message = (
                f"{path}: is a file, and other files lie below it as in a folder ({', '.join(names[:_SHOWN])}{more}); "
                "they aren't shown: rename them, or remove them"
            )
            yield BOTH, path, message


def sort_keys(keys: Keys) -> Sorted:
    """Tell files, folders, and what can be neither."""
    found = Sorted()
    files, folders = found.files, found.folders
    for name, key, info in keys:
        stat, path = stat_of(info), name.rstrip("/")
        if not name or (stat.kind == "directory" and leads_elsewhere(path)):
            continue
        if stat.kind == "directory":
            folders.add(path)
        elif name[-1] == "/" and stat.size <= 0:
            found.markers[name] = Marker(key, "" if leads_elsewhere(path) else path)
        elif name[-1] == "/" or leads_elsewhere(path):
            found.odd[name] = Odd(key, stat)
        else:
            files[path] = key, stat, info
    folders.update(marker.folder for marker in found.markers.values() if marker.folder)
    for path in (*files, *folders):
        for parent in parents_of(path):
            if parent in folders:
                break
            folders.add(parent)
    _settle(found)
    return found


def _settle(found: Sorted) -> None:
    """Decide what is a file of those that are folders too."""
    both = set()
    for path in found.files.keys() & found.folders:
        key, stat, _ = found.files[path]
        if stat.size > 0:
            both.add(path)
        else:
            del found.files[path]
            found.markers[path] = Marker(key, path)
    if not both:
        return
    for path in list(found.files):
        if above := [parent for parent in parents_of(path) if parent in both]:
            key, stat, _ = found.files.pop(path)
            found.odd[path] = Odd(key, stat, above[-1])
    lost = {path for path in found.folders if path in both or not both.isdisjoint(parents_of(path))}
    found.folders -= lost
    for name, marker in found.markers.items():
        if marker.folder in lost:
            found.markers[name] = Marker(marker.key, "")


def folders_of(
    folders: Iterable[str], files: Mapping[str, Stat], errors: Mapping[str, OSError] | None = None
) -> Iterator[Folder]:
    """Folders with what they hold, parents first, from the paths of all that there is; and why some aren't listed."""
    entries: dict[str, list[Entry]] = {path: [] for path in ("", *folders)}
    for path in entries:
        if path:
            parent, _, name = path.rpartition("/")
            entries[parent].append(Entry(name, "directory"))
    for path, stat in files.items():
        parent, _, name = path.rpartition("/")
        entries[parent].append(Entry(name, "file", stat.size))
    for path in sorted(entries, key=lambda path: (path.count("/") if path else -1, path)):
        yield Folder(path, Stat("directory"), entries[path], errors.get(path) if errors else None)


def leads_elsewhere(path: str) -> bool:
    """Whether a name that a backend lists isn't one of a file below the root: an object store allows any."""
    return "\0" in path or not {"", ".", ".."}.isdisjoint(path.split("/"))


def below(fs: AbstractFileSystem, root: str) -> str:
    """What all names begin with that a backend has below a folder, given as the backend writes it.

    At its top the names of some begin with a slash (memory://, ftp://), those of others don't (zip://, s3://); and one
    that has it may take a name without for another one.
    """
    if bare := root.rstrip("/"):
        starts = not bare.startswith("/") and _begin_with_slash(fs)
        return f"{'/' * starts}{bare}/"
    return "/" if root or _begin_with_slash(fs) else ""


def _begin_with_slash(fs: AbstractFileSystem) -> bool:
    return str(fs._strip_protocol("x")) == "/x"  # noqa: SLF001  # part of fsspec's interface


def is_understood(fs: AbstractFileSystem, key: str) -> bool:
    """Whether a backend, which takes URLs as well as names, takes a name for just that."""
    if not any(sign in key for sign in "?#:"):
        return True
    split = getattr(fs, "split_path", None)
    if split is None:
        return str(fs._strip_protocol(key)) == key  # noqa: SLF001  # part of fsspec's interface
    bucket, name = split(key)[:2]
    return f"{bucket}/{name}" == key


def can_be_removed(fs: AbstractFileSystem, protocols: frozenset[str], key: str) -> bool:
    """Whether a backend, told to remove a key of an odd name, surely takes it for that one and no other."""
    if "\0" in key or not is_understood(fs, key):
        return False
    if protocols & FLAT:
        return True
    return {".", ".."}.isdisjoint(key.split("/")) and str(fs._strip_protocol(key)) == key  # noqa: SLF001  # ditto


def lists_at_once(fs: AbstractFileSystem, *, is_async: bool) -> bool:
    """Whether a backend has a way of its own to list all: fsspec's leaves out folders that can't be listed."""
    own = getattr(type(fs), "_find" if is_async else "find", None)
    return own not in (AbstractFileSystem.find, AsyncFileSystem._find)  # noqa: SLF001  # ditto
