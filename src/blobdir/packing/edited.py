"""What the parts of an edit ask of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from blobdir.packing.editedplaces import EditedPlaces

Origin = Literal["new", "copied", "moved"]
"""What a file is that is written: something new, or the content of another one, which stays or goes."""


class Edited(Protocol):
    """What is asked of the edit."""

    def exists(self, path: str) -> bool:
        """Whether there would be such a file."""
        ...

    def is_member(self, path: str) -> bool:
        """Whether there would be a member of a blob."""
        ...

    def files_below(self, path: str) -> list[str]:
        """Paths of all files below a folder."""
        ...

    def holds(self, path: str) -> bool:
        """Whether there would be a file below a folder."""
        ...

    @property
    def places(self) -> EditedPlaces:
        """What paths are: images and labels of datasets."""
        ...

    def read(self, path: str) -> bytes:
        """Content of a file as it would be."""
        ...

    def write(self, path: str, data: bytes) -> None:
        """Write a file, or replace it."""
        ...
