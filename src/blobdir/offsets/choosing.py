"""Which members of a tar are images: by their names, and by what the caller wants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from blobdir.errors import OffsetsConflictError
from blobdir.filenames import IMAGE_EXTENSIONS, JUNK_FILES, JUNK_FOLDERS, SIDE_EXTENSIONS
from blobdir.lazily import cached_property
from blobdir.nametable import gather_names
from blobdir.offsets.conflicts import repeated
from blobdir.offsets.names import bad_names, shown, to_str
from blobdir.offsets.table import OffsetsTable
from blobdir.tarscan import Kind, LeftOut, ends_of_names, path_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from blobdir.tarscan import TarTable

    Ints = NDArray[np.int64]
    Mask = NDArray[np.bool_]

Filter = Callable[[str], bool]

HIDDEN: Final = Kind("hidden file", "hidden files", "--filter '.*' takes them")
SIDE_FILE: Final = Kind(
    "file that goes with an image of its name", "files that go with images of their names", "--filter '*' takes them"
)
UNUSABLE: Final = Kind("member whose name can't be a file's", "members whose names can't be files'", has_data=True)
REPLACED: Final = Kind(
    "member that is there again, further on", "members that are there again, further on", "the last counts, as in tar"
)


@dataclass(slots=True)
class Choice:
    """Members that are taken, and those that aren't.

    Attributes
    ----------
    rows : ndarray of intp
        Of the tar's table.
    table : OffsetsTable
        All of the tar's table, under base names.
    notes : list of LeftOut
        What was left out since it is no image.
    faults : list of LeftOut
        What was left out though it may be one.
    """

    rows: NDArray[np.intp]
    table: OffsetsTable
    notes: list[LeftOut] = field(default_factory=list)
    faults: list[LeftOut] = field(default_factory=list)


def choose(members: TarTable, filter_func: Filter | None, *, hidden: bool) -> Choice:
    """Leave out what is no image by its name, what isn't wanted, and what can't be a file.

    Parameters
    ----------
    members : TarTable
    filter_func : callable or None
        Says of a full name whether it is wanted. Without, all are but files that go with an image of their name.
    hidden : bool
        Whether hidden files may be wanted.
    """
    names = _Names(members)
    choice = Choice(np.arange(len(members)), names.base)
    kept = np.ones(len(members), bool)
    unusable = dict.fromkeys(bad_names(names.base.arena, names.base.name_start).tolist())
    if not hidden:
        found = [row for row in names.hidden() if row not in unusable]
        choice.notes += names.left_out(HIDDEN, found if filter_func is None else [])
        kept[found] = False
    if filter_func is None:
        found = [row for row in names.side_files() if kept[row]]
        choice.notes += names.left_out(SIDE_FILE, found)
        kept[found] = False
    else:
        full = names.all()
        kept[[row for row in np.flatnonzero(kept).tolist() if not filter_func(to_str(full[row]))]] = False
    found = [row for row in unusable if kept[row]]
    choice.faults += names.left_out(UNUSABLE, found)
    kept[found] = False
    for kind, rows in names.not_extracted().items():
        found = [row for row in rows if kept[row]]
        choice.faults += names.left_out(kind, found)
        kept[found] = False
    for member in members.left_out:
        is_junk = not hidden and is_hidden(member.name)
        if not is_junk and (filter_func is None or filter_func(to_str(member.name))):
            choice.faults.append(member)
    choice.rows = np.flatnonzero(kept)
    return choice


def without_replaced(members: TarTable, choice: Choice, archive: str) -> bool:
    """Of several members that are one file, take the last, as all readers of tars do. False if there are none.

    If the last isn't wanted, none of them is taken: its data are what is there.

    Raises
    ------
    OffsetsConflictError
        Two members have one base name, and different full ones.
    """
    table = choice.table
    rows = repeated(table.arena, table.name_start)
    if not len(rows):
        return False
    rows = rows[~np.isin(rows, list(members.not_extracted))]
    taken = np.isin(rows, choice.rows).tolist()
    paths = [path_of(members.name(row)) for row in rows.tolist()]
    there = dict(zip(paths, rows.tolist(), strict=True))
    last: dict[bytes, int] = {}
    owner: dict[bytes, int] = {}
    gone: list[int] = []
    for row, path, is_taken in zip(rows.tolist(), paths, taken, strict=True):
        if not is_taken:
            continue
        if members.start[there[path]] != members.start[row]:
            gone.append(row)
        else:
            last[path] = row
    for path, row in last.items():
        base = path.rpartition(b"/")[2]
        other = owner.setdefault(base, row)
        if (members.start[other], members.end[other]) != (members.start[row], members.end[row]):
            one, two = (
                f"{shown(to_str(members.name(i)))} (bytes {members.start[i]} to {members.end[i]})" for i in (other, row)
            )
            raise OffsetsConflictError(
                f"{archive}: {one} and {two} have one base name; `on_conflict` (--on-conflict) says what becomes of "
                "them",
                path=archive,
            )
    if gone:
        names = _Names(members)
        choice.faults += names.left_out(REPLACED, gone)
        choice.rows = np.setdiff1d(choice.rows, np.array(gone, np.intp))
    return True


def side_files_of(members: TarTable, also: Collection[int] = ()) -> dict[int, list[int]]:
    """Rows that go with images -> the rows of those; images are `also` these rows, whatever they're called."""
    names = _Names(members)
    named = {row for row in also if _extension(members.name(row)) not in SIDE_EXTENSIONS}
    sides = names.side_files(named)
    if not sides:
        return {}
    images: dict[bytes, list[int]] = {}
    for row, name in enumerate(names.all()):
        if _extension(name) in IMAGE_EXTENSIONS or row in named:
            images.setdefault(_sample(name), []).append(row)
    return {row: images[_sample(members.name(row))] for row in sides}


def doubles_of(members: TarTable) -> dict[int, list[int]]:
    """Rows of AppleDouble files, ``._a.jpg`` and ``__MACOSX/._a.jpg`` -> the rows of ``a.jpg``, if there are some."""
    names = _Names(members)
    of: dict[int, bytes] = {}
    for row in names.hidden():
        folder, slash, base = path_of(members.name(row)).rpartition(b"/")
        if base.startswith(b"._"):
            own = (folder + slash).removeprefix(b"__MACOSX/") + base[2:]
            of[row] = own
    rows: dict[bytes, list[int]] = {own: [] for own in of.values()}
    for row, name in enumerate(names.all()) if of else ():
        if (same := path_of(name)) in rows:
            rows[same].append(row)
    return {row: rows[own] for row, own in of.items() if rows[own]}


def no_images(members: TarTable) -> set[int]:
    """Rows that can't be images by their names: hidden files, and names that no file can have."""
    names = _Names(members)
    return {*names.hidden(), *bad_names(names.base.arena, names.base.name_start)}


def is_certain(name: bytes) -> bool:
    """Whether a member is an image by its name, whatever lies beside it: no hidden file, and no file of an image."""
    return _extension(name) in IMAGE_EXTENSIONS and not is_hidden(name)


def is_hidden(name: bytes) -> bool:
    """Whether a member isn't shown: dot files, what lies in dot folders, an operating system's junk."""
    *folders, base = name.split(b"/")
    return (
        base.startswith(b".")
        or base in _JUNK_FILES
        or not _JUNK_FOLDERS.isdisjoint(folders)
        or any(folder.startswith(b".") and folder not in (b".", b"..") for folder in folders)
    )


_JUNK_FILES: Final = {name.encode() for name in JUNK_FILES}
_JUNK_FOLDERS: Final = {name.encode() for name in JUNK_FOLDERS}
_LOWER: Final = np.uint32(0x20202020)
# The last four bytes of images' names, in lower case, as numbers.
_USUAL_ENDS: Final = np.sort(np.array([e.encode()[-4:] for e in IMAGE_EXTENSIONS], "S4").view("<u4") | _LOWER)


class _Names:
    """Names of a tar's members, looked at in columns: what is rare is looked at one by one."""

    def __init__(self, members: TarTable) -> None:
        self._members = members
        self._full: list[bytes] | None = None
        self.base = OffsetsTable(members.arena, members.name_start, members.start, members.end)
        """Under base names."""
        slashes = np.flatnonzero(members.arena == ord("/"))
        if len(slashes):
            begin, end = members.name_start[:-1], members.name_start[1:] - 1
            last = np.searchsorted(slashes, end) - 1
            begin = np.maximum(begin, np.where(last >= 0, slashes[last] + 1, 0))
            self.base = OffsetsTable(*gather_names(members.arena, begin, end - begin), members.start, members.end)

    def all(self) -> list[bytes]:
        """Full names, in order."""
        if self._full is None:
            self._full = self._members.arena.tobytes().split(b"\0")[:-1]
        return self._full

    def left_out(self, kind: Kind, rows: list[int]) -> list[LeftOut]:
        """Some rows as members that were left out; the byte is that of their data."""
        return [LeftOut(kind, self._members.name(row), int(self._members.start[row]), row) for row in rows]

    def not_extracted(self) -> dict[Kind, list[int]]:
        """Rows that readers of tars don't have in the end."""
        found: dict[Kind, list[int]] = {}
        for row, kind in sorted(self._members.not_extracted.items()):
            found.setdefault(kind, []).append(row)
        return found

    def hidden(self) -> list[int]:
        """Rows that `is_hidden` holds for."""
        found = set(self._dotted())
        raw = self._members.arena.tobytes()
        if any(folder in raw for folder in _JUNK_FOLDERS):
            found.update(row for row, name in enumerate(self.all()) if is_hidden(name))
        found.update(row for row in self._unusual if self.base.name(row) in _JUNK_FILES)
        return sorted(found)

    def _dotted(self) -> list[int]:
        """Rows whose base name begins with a dot, or that of one of their folders; ``.`` and ``..`` are none."""
        arena, name_start = self._members.arena, self._members.name_start
        begin = np.concatenate([name_start[:-1], np.flatnonzero(arena == ord("/")) + 1])
        dots = begin[arena[begin] == ord(".")]
        dots = dots[arena[dots + 1] != ord("/")]
        is_up = (arena[dots + 1] == ord(".")) & (arena[np.minimum(dots + 2, len(arena) - 1)] == ord("/"))
        rows: list[int] = (np.searchsorted(name_start, dots[~is_up], "right") - 1).tolist()
        return rows

    def side_files(self, also: Collection[int] = ()) -> list[int]:
        """Rows that go with an image of their key, as WebDataset has it: the name up to the base's first dot."""
        if not self._unusual:
            return []
        full = self.all()
        sides = [row for row in self._unusual if _extension(full[row]) in SIDE_EXTENSIONS]
        if not sides:
            return []
        keys = {_sample(name) for name in full if _extension(name) in IMAGE_EXTENSIONS}
        keys.update(_sample(full[row]) for row in also)
        return [row for row in sides if _sample(full[row]) in keys]

    @cached_property
    def _ends(self) -> NDArray[np.uint32]:
        return ends_of_names(self._members)

    @cached_property
    def _unusual(self) -> list[int]:
        """Rows whose names don't end as images' do."""
        last = self._ends
        usual = _USUAL_ENDS[np.minimum(np.searchsorted(_USUAL_ENDS, last), len(_USUAL_ENDS) - 1)]
        found: list[int] = np.flatnonzero(usual != last).tolist()
        return found


def _extension(name: bytes) -> str:
    _, dot, extension = name.rpartition(b"/")[2].rpartition(b".")
    return (dot + extension).decode("latin-1").lower()


def _sample(name: bytes) -> bytes:
    return key_of(path_of(name))


def key_of(name: bytes) -> bytes:
    """What WebDataset calls the key of a sample: a name up to the first dot behind its folders."""
    folder, slash, base = name.rpartition(b"/")
    return folder + slash + base.partition(b".")[0]
