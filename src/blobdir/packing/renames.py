"""In which order files get other names, so that none is lost on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blobdir.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Rename = tuple[str, str]
"""The name that something has, and the one that it's to have."""


def in_order(renames: Iterable[Rename], free: Callable[[str], str] | None) -> list[Rename]:
    """Renames that are meant to happen at once, one after the other: what is in the way of another goes first.

    Of ``a`` to ``b`` and ``b`` to ``c``, the second comes first. Takes linear time.

    Parameters
    ----------
    renames : iterable of (str, str)
        The same one twice counts once; one to the same name not at all.
    free : callable, optional
        A name that nothing has, given one that is to be free for a moment: circles, as when two swap their names, take
        one more. None where they can't be.

    Raises
    ------
    UsageError
        Two are to have one name, one is to have two, or there is a circle.
    """
    target: dict[str, str] = {}
    source: dict[str, str] = {}
    for old, new in renames:
        if target.setdefault(old, new) != new:
            raise UsageError(f"{old}: was to become {target[old]} and {new} at once")
        if source.setdefault(new, old) != old:
            raise UsageError(f"{new}: both {source[new]} and {old} were to become it")
    for name in [old for old, new in target.items() if old == new]:
        del target[name], source[name]
    found: list[Rename] = []
    last = [new for new in target.values() if new not in target]  # the ends of chains
    while target:
        while last:
            new = last.pop()
            while new in source:  # back along the chain
                old = source.pop(new)
                found.append((old, new))
                del target[old]
                new = old
        if target:
            old, new = next(iter(target.items()))
            if free is None:
                raise UsageError(f"{old}: is to become {new}, and that in the end {old}; move them instead")
            aside = free(old)
            found.append((old, aside))
            del target[old]
            target[aside], source[new] = new, aside
            last.append(old)
    return found
