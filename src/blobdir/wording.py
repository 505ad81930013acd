"""Words of messages."""

from __future__ import annotations


def counted(count: int, one: str, many: str = "") -> str:
    """A number and what it counts, in the singular or plural; `many` is `one` with an s if it isn't given."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
