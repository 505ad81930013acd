"""What a call has done, in numbers."""

from __future__ import annotations

from typing import NamedTuple


class Put(NamedTuple):
    """What `ImageStore.put_many` did.

    Attributes
    ----------
    new : int
        Images that weren't there before.
    replaced : int
        Images whose bytes are others now.
    kept : int
        Images that were there, and were left as they were.
    """

    new: int
    replaced: int
    kept: int
