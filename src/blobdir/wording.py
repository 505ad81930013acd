"""Words of messages."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_NEAR: Final = 5
_LISTED: Final = 20


def counted(count: int, one: str, many: str = "") -> str:
    """A number and what it counts, in the singular or plural; `many` is `one` with an s if it isn't given."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def near_ones(typed: str, known: Iterable[str]) -> list[str]:
    """What could have been meant by something that isn't known."""
    folded = {name.casefold(): name for name in known}
    return [folded[name] for name in get_close_matches(typed.casefold(), folded, _NEAR)]


def near(typed: str, known: list[str], there_are: str, none: str) -> str:
    """The same in words; where nothing is near, what there is."""
    if not known:
        return none
    if found := near_ones(typed, known):
        return f"near it: {', '.join(found)}"
    more = f" and {len(known) - _LISTED:,} more" if len(known) > _LISTED else ""
    return f"{there_are} {', '.join(known[:_LISTED])}{more}"
