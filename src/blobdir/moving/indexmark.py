"""The mark of who writes an index beside a project in a storage; see `blobdir.moving.indexing`."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Self

from blobdir.errors import BlobdirError, BusyError
from blobdir.moving.claim import holds, new_mark, remove_own
from blobdir.moving.remotefiles import INDEXING, JOURNAL, PUSHING, is_still
from blobdir.opening import BESIDE_FILE

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from blobdir.moving.remotefiles import RemoteFiles
    from blobdir.sources import RemoteStorage, Stat

CHANGING = frozenset((PUSHING, JOURNAL))
_SHOWN = 3


class IndexMark:
    """Keeps readers from an index that isn't compared with the project yet. A context manager.

    The mark is ``.blobdir/indexing.json``. Unlike that of a push it stops nobody. Readers look for both in one request,
    and list the project while it's there. Who is killed leaves it; whoever writes an index there next takes it over,
    and a push that ends removes it.

    Parameters
    ----------
    there : RemoteStorage

    Attributes
    ----------
    unsure : bool
        Whether an index of one's own may be there that isn't known to be true: it's removed then, or the mark stays.
    """

    def __init__(self, there: RemoteStorage) -> None:
        self.unsure = False
        self._there = there
        self._mark = new_mark("indexing")

    def _is_there(self) -> bool:
        """Whether nobody has removed it, or taken it over."""
        return holds(self._there, INDEXING, self._mark)

    def put(self, data: bytes, then: RemoteFiles) -> Stat:
        """Write an index, and leave one that somebody else has written since the project was listed.

        Parameters
        ----------
        data : bytes
        then : RemoteFiles
            What was listed.

        Raises
        ------
        BusyError
            Somebody has pushed since, or is pushing.
        """
        there = self._there
        self._check_own(then)
        if BESIDE_FILE in then.own:
            remove_own(there, BESIDE_FILE)
        if not self._is_there():
            raise changed(there, [INDEXING])
        self.unsure = True
        if not there.create(BESIDE_FILE, data) and there.read(BESIDE_FILE) != data:
            self.unsure = False
            raise changed(there, [BESIDE_FILE])
        return version_of_index(there)

    def _check_own(self, then: RemoteFiles) -> None:
        """Make sure that nobody has pushed since, or is pushing, by what a push touches first and last."""
        there = self._there
        names = {path.rpartition("/")[2]: path for path in (*CHANGING, BESIDE_FILE)}
        found = {names[name] for name in there.which(BESIDE_FILE.rpartition("/")[0], names)}
        wrong = found & CHANGING
        if BESIDE_FILE in found and (
            BESIDE_FILE not in then.own or not is_still(then.own[BESIDE_FILE], version_of_index(there))
        ):
            wrong |= {BESIDE_FILE}
        if wrong:
            raise changed(there, wrong)

    def __enter__(self) -> Self:
        self._there.write(INDEXING, self._mark)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(BlobdirError, OSError) if error is not None else nullcontext():
            if self.unsure:
                remove_own(self._there, BESIDE_FILE)
            if self._is_there():
                remove_own(self._there, INDEXING)


def version_of_index(there: RemoteStorage) -> Stat:
    """The version of an index that was just written."""
    try:
        return there.stat(BESIDE_FILE)
    except FileNotFoundError as error:
        raise changed(there, [BESIDE_FILE]) from error


def changed(there: RemoteStorage, paths: Iterable[str]) -> BusyError:
    """What to say where the project isn't what the index was made of."""
    paths = sorted(paths)
    more = f" and {len(paths) - _SHOWN:,} more" if len(paths) > _SHOWN else ""
    return BusyError(
        f"{there.url}: was changed by somebody else while its index was made ({', '.join(paths[:_SHOWN])}{more}), so "
        "none was left there; make it when nobody changes the project"
    )
