"""An index beside a project in a storage, written by who changes nothing else there.

Nothing there can lock a project, or write an index only if the project is still what the index was made of; and readers
believe an index, which saves them the listing. So it's believed only when the project was listed again. Between any two
requests the place is in one of these states:

1. Listed, and the index built in memory: nothing is written. A project that is being pushed is refused.
2. The mark is there (`blobdir.moving.indexmark`): no reader believes any index. If somebody is pushing now, or
   the index isn't the one that was listed, the mark is removed and nothing else was touched.
3. The index that was listed is removed. If the mark isn't one's own any more, nothing is written.
4. The new index is there, written only where there is none: what a push has written since 2 is left. (Backends that
   can't do that in one step write over it; then 5 removes it.)
5. All was listed again. Where that isn't what 1 was, or somebody is pushing, the index of 4 is removed.
6. The mark is removed: the index is believed, and of what is there.

A kill before 6 leaves the mark, and readers who list. Who pushes doesn't heed the mark: a push that begins before 5 is
seen in 5, and one that begins later removes the index by itself. One that ends between 2 and 5 removes the mark with
all that is blobdir's own: an old index stays only if all of a push fits between 3 and 4, a kill comes before 5, and the
push has written no index or 4 could write over it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blobdir.index import index_to_bytes
from blobdir.moving.finishing import Expected
from blobdir.moving.indexmark import CHANGING, IndexMark, changed
from blobdir.moving.remotefiles import files_of, is_own, is_still, list_keys, list_remote
from blobdir.opening import BESIDE_FILE, build, refuse_unfinished, refuse_unread

if TYPE_CHECKING:
    from blobdir.discovery import DiscoveryOptions, Progress
    from blobdir.index import Index
    from blobdir.moving.remotefiles import RemoteFiles
    from blobdir.sources import RemoteStorage, Stat


def index_beside(
    there: RemoteStorage, discovery: DiscoveryOptions, progress: Progress | None = None
) -> tuple[Index, str]:
    """Build the index of a project behind a backend, and put it beside it; where it lies.

    Parameters
    ----------
    there : RemoteStorage
    discovery : DiscoveryOptions
    progress : callable, optional

    Raises
    ------
    DataError
        The project is being changed, or a change was cut off. Nothing was written.
    BusyError
        It was changed meanwhile. No index of what it was is there.
    ReadError
        It can't be read in full, or the place can't be written.
    """
    keys = list_keys(there)
    then = files_of(there, keys)
    index = build(
        there.as_listed([key for key in keys if not is_own(key[0]) or key[0] in CHANGING]), discovery, progress
    )
    refuse_unfinished(index, there)
    refuse_unread(index, there)
    data = index_to_bytes(index)
    with IndexMark(there) as mark:
        written = mark.put(data, then)
        now = list_remote(there)
        wrong = [*_as_it_was(then).wrong(now, there), *(CHANGING & now.own.keys())]
        mark.unsure = _is_there(now.own, written)
        if wrong or not mark.unsure:
            raise changed(there, wrong or [BESIDE_FILE])
        mark.unsure = False
    return index, f"{there.url}/{BESIDE_FILE}"


def _as_it_was(then: RemoteFiles) -> Expected:
    folders = {path for path in then.folders if not is_own(path)}
    return Expected(then.files, sorted(folders), folders, set(then.odd))


def _is_there(own: dict[str, Stat], written: Stat) -> bool:
    return BESIDE_FILE in own and is_still(written, own[BESIDE_FILE])
