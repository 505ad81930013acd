"""Files that are kept open: one budget of the process, from its limit of descriptors.

Half of the limit is left to others, and half of what those leave. Of the rest, half is for files that are *held*: they
stay open as long as who holds them lives, unless the process has no descriptor left for anything else. The other half
is for files that are *kept*: when another one needs its place, the one is closed that was opened longest ago among
those that weren't read since they were last asked (a clock, in place of a list by time of use: readers set a mark and
take no lock). It's opened again when it's read. Whoever opens one again makes sure that it's the same.
"""

from __future__ import annotations

import errno
import os
import resource
import weakref
from collections import OrderedDict
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from blobdir.locks import ForkSafeLock

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

MOST: Final = 8192
"""Descriptors that are shared out at the most, where there is no limit, or a higher one."""
_FEWEST = 8
NONE_LEFT: Final = {
    errno.EMFILE: "this process has as many files open as it may: have it close some, or allow it more (ulimit -n)",
    errno.ENFILE: "all processes together have as many files open as the system allows: have some of them closed",
}
"""What it means that nothing can be opened, by errno."""
T = TypeVar("T")


class Keeper(Protocol):
    """Who keeps files open."""

    def let_go(self, key: Any) -> None:
        """Close a file, or forget it; called in any thread, with no lock held."""
        ...

    def was_used(self, key: Any) -> bool:
        """Whether a file was read since it was last asked, but for the read that opened it; must take no lock."""
        ...


class Holder(Protocol):
    """Who holds files."""

    def give_back(self, count: int) -> int:
        """Close some of the files that are held, and give how many; called in any thread, with no lock held."""
        ...


class Descriptors:
    """What is open in this process. Threads may share it; it works on after a fork."""

    def __init__(self) -> None:
        self._lock = ForkSafeLock()
        self._kept: OrderedDict[tuple[int, Hashable], weakref.ref[Keeper]] = OrderedDict()
        self._has_dead = False
        self._held: weakref.WeakKeyDictionary[Holder, int] = weakref.WeakKeyDictionary()

    @staticmethod
    def room() -> int:
        """Files that may be held, and as many that may be kept."""
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return max(_FEWEST, (MOST if soft == resource.RLIM_INFINITY else min(soft, MOST)) // 4)

    @staticmethod
    def free() -> int:
        """Descriptors that this process may still open."""
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        soft = MOST if soft == resource.RLIM_INFINITY else soft
        for folder in ("/proc/self/fd", "/dev/fd"):
            with suppress(FileNotFoundError):
                try:
                    return max(0, soft - len(os.listdir(folder)))
                except OSError as error:
                    if error.errno in NONE_LEFT:
                        return 0
                    raise
        return soft

    def keep(self, owner: Keeper, key: Hashable) -> None:
        """Note that a file is kept open; others are let go of if there are too many."""
        with self._lock:
            self._kept.pop((id(owner), key), None)
            surplus = self._least_used(len(self._kept) + 1 - self.room())
            self._kept[id(owner), key] = weakref.ref(owner, self._note_dead)
        self._let_go(surplus)

    def _note_dead(self, _: weakref.ref[Keeper]) -> None:
        self._has_dead = True

    def forget(self, owner: Keeper, key: Hashable) -> None:
        """Note that a file isn't kept open any more."""
        with self._lock:
            self._kept.pop((id(owner), key), None)

    def let_go_of_some(self) -> bool:
        """Have a part of the kept files closed; False where there are none."""
        with self._lock:
            found = self._least_used(1 + len(self._kept) // 4)
        self._let_go(found)
        return bool(found)

    def _least_used(self, count: int) -> list[tuple[Keeper, Hashable]]:
        """Take out files: the oldest first, but for those that were used; of owners who are gone they are closed."""
        if count > 0 and self._has_dead:
            self._has_dead = False
            for name in [name for name, owner in self._kept.items() if owner() is None]:
                del self._kept[name]
                count -= 1
        found: list[tuple[Keeper, Hashable]] = []
        chances = len(self._kept)  # one each: then all marks are gone, or others set them again
        while self._kept and len(found) < count:
            name, owner = self._kept.popitem(last=False)
            if (there := owner()) is None:
                continue
            if chances > 0 and there.was_used(name[1]):
                self._kept[name] = owner
            else:
                found.append((there, name[1]))
            chances -= 1
        return found

    @staticmethod
    def _let_go(found: list[tuple[Keeper, Hashable]]) -> None:
        for owner, key in found:
            owner.let_go(key)

    def hold(self, owner: Holder, wanted: int, already: int = 0) -> int:
        """How many more files somebody may hold: half of what is left, so that who comes later gets some, too.

        Parameters
        ----------
        owner : Holder
        wanted : int
            Files, those in `already` included.
        already : int
            Files that are held, by somebody else as well.
        """
        with self._lock:
            left = max(0, self.room() - sum(self._held.values()))
            granted = max(0, min(wanted - already, -(-left // 2), self.free() // 2 if wanted > already else 0))
            self._held[owner] = already + granted
        return granted

    def holds(self, owner: Holder, count: int) -> None:
        """Note how many files somebody holds after all."""
        with self._lock:
            self._held[owner] = count

    def give_back_some(self) -> bool:
        """Have a part of the held files closed, of who holds most of them; False where there are none."""
        with self._lock:
            holders = sorted(((count, id(owner), owner) for owner, count in self._held.items() if count), reverse=True)
        for count, _, owner in holders:
            given = owner.give_back(1 + count // 4)
            self.holds(owner, count - given)
            if given:
                return True
        return False


DESCRIPTORS: Final = Descriptors()


def with_room(open_: Callable[[], T]) -> T:
    """What a function gives that opens a file; where the process has no descriptor left, others are closed for it.

    First those that are kept, then those that are held.
    """
    while True:
        try:
            return open_()
        except OSError as error:
            if error.errno not in NONE_LEFT or not (DESCRIPTORS.let_go_of_some() or DESCRIPTORS.give_back_some()):
                raise


def none_left(error: BaseException | None) -> OSError | None:
    """The error that says in words that there was no descriptor left; None where something else was the cause.

    It says nothing of what was to be opened: neither that it isn't there, nor that it can't be read.
    """
    name = getattr(error, "filename", None)
    while error is not None:
        if isinstance(error, OSError) and error.errno in NONE_LEFT:
            return OSError(error.errno, NONE_LEFT[error.errno], error.filename or name)
        error = error.__cause__
    return None


@contextmanager
def naming_none_left() -> Iterator[None]:
    """Have an error say in words that there was no descriptor left, whatever else it says; see `none_left`."""
    try:
        yield
    except Exception as error:
        if left := none_left(error):
            raise left from error
        raise
