"""Which members the entries of a pickle mean, where names can be read in two ways.

An entry may have the name of its member, or the one of which `blobdir.offsets.names.keyed` has made the member's: of
``a%2Eb.jpg`` that is the member of this name, and ``a%252Eb.jpg`` as well. Only names of one chain can be confused,
each of which `keyed` makes of the one before: ``a.b.jpg``, ``a%2Eb.jpg``, ``a%252Eb.jpg`` … An entry means the member
in its own place of the chain, or that in the next. So of neighbours that all have entries one decides for all others:
the first one, if the tar has no member of just its name, and the last one, if it has none of its next name. Where
neither does, or both do and disagree, an entry may mean both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blobdir.offsets.names import keyed, unkeyed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from blobdir.verifying.members import Members


class Readings:
    """The members that entries can mean, by the names of all of a pickle.

    Parameters
    ----------
    members : Members
    names : iterable of bytes
        Of all its entries.

    Attributes
    ----------
    are_needed : bool
        Whether any name can be read in two ways.
    """

    def __init__(self, members: Members, names: Iterable[bytes]) -> None:
        self._members = members
        self.are_needed = b"%2" in members.table.arena.tobytes()
        self._names = frozenset(names) if self.are_needed else frozenset()

    def called(self, name: bytes) -> list[int]:
        """Members that the entry of this name can mean."""
        own = self._members.ending_in(name)
        if not self.are_needed or (spelled := keyed(name)) == name:
            return own
        other = self._members.ending_in(spelled)
        if not own or not other:
            return own + other
        is_spelled, is_plain = self._is_spelled(name), self._is_plain(name)
        if is_spelled == is_plain:
            return own + other
        return other if is_spelled else own

    def allow(self, name: bytes, start: int) -> bool:
        """Whether the entry of this name can mean what begins at a byte."""
        return any(int(self._members.table.start[number]) == start for number in self.called(name))

    def _is_spelled(self, name: bytes) -> bool:
        """Whether another entry has the member of just this name: since there is none of just its own."""
        while own := self._members.ending_in(name):
            before = unkeyed(name)
            if before == name or before not in self._names or not self._is_one(own):
                return False
            name = before
        return True

    def _is_plain(self, name: bytes) -> bool:
        """Whether another entry has the member of the next name: since there is none of its own next name."""
        while other := self._members.ending_in(keyed(name)):
            after = keyed(name)
            if after == name or after not in self._names or not self._is_one(other):
                return False
            name = after
        return True

    def _is_one(self, numbers: list[int]) -> bool:
        return len({int(self._members.table.start[number]) for number in numbers}) == 1
