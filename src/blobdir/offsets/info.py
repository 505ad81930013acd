"""`BlobImageInfo` with the SDK's methods, for programs that used the SDK's."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from blobdir.errors import UsageError
from blobdir.offsets.attributes import encode_state
from blobdir.offsets.conflicts import OnConflict, check_mode
from blobdir.offsets.reader import read_offsets
from blobdir.offsets.table import OffsetsTable, concatenate
from blobdir.offsets.values import FIELDS
from blobdir.offsets.writer import BATCH_SIZE, write_offsets

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable


class HasOffsets(Protocol):
    """What `BlobImageInfo.from_image_info` needs, such as the SDK's ``ImageInfo``."""

    @property
    def name(self) -> str:
        """Base name of the image."""

    @property
    def offset_start(self) -> int:
        """First byte in the blob."""

    @property
    def offset_end(self) -> int:
        """The byte after the last."""


@dataclass
class BlobImageInfo:
    """One image in a blob. Does what ``supervisely.api.image_api.BlobImageInfo`` does, and raises where that logs.

    Attributes
    ----------
    name : str
        Base name of the image. Bytes that aren't UTF-8 are lone surrogates, as `os.fsdecode` gives them.
    offset_start, offset_end : int
        Byte range of the image in the tar, half-open.
    """

    name: str
    offset_start: int
    offset_end: int

    @staticmethod
    def from_image_info(image_info: HasOffsets) -> BlobImageInfo:
        """Take the three fields from an object that has them."""
        return BlobImageInfo(image_info.name, image_info.offset_start, image_info.offset_end)

    def add_team_file_id(self, team_file_id: int | None) -> BlobImageInfo:
        """Set the attribute ``team_file_id``, the id of the blob in Team Files; return the object itself."""
        setattr(self, "team_file_id", team_file_id)  # noqa: B010 - not a field: equality doesn't see it
        return self

    def to_dict(self, team_file_id: int | None = None) -> dict[str, Any]:
        """Return the dictionary that the Supervisely API takes."""
        return {
            "title": self.name,
            "teamFileId": team_file_id or getattr(self, "team_file_id", None),
            "sourceBlob": self.offsets_dict,
        }

    @staticmethod
    def from_dict(offset_dict: dict[str, Any], return_team_file_id: bool = False) -> BlobImageInfo:
        """Make an object of a dictionary of the Supervisely API, with its ``team_file_id`` if asked for."""
        source = offset_dict["sourceBlob"]
        info = BlobImageInfo(offset_dict["title"], source["offsetStart"], source["offsetEnd"])
        return info.add_team_file_id(offset_dict["teamFileId"]) if return_team_file_id else info

    @property
    def offsets_dict(self) -> dict[str, int]:
        """``{"offsetStart": …, "offsetEnd": …}``."""
        return {"offsetStart": self.offset_start, "offsetEnd": self.offset_end}

    @staticmethod
    def load_from_pickle_generator(
        file_path: str | os.PathLike[str], batch_size: int = BATCH_SIZE
    ) -> Generator[list[BlobImageInfo], None, None]:
        """Read an offsets file, in lists of `batch_size`.

        The whole file is read and checked before the first list: see `read_offsets` for what is raised.
        """
        _check_batch_size(batch_size)
        yield from read_offsets(file_path).batches(batch_size)

    @staticmethod
    def dump_to_pickle(
        offsets: Iterable[BlobImageInfo] | Iterable[list[BlobImageInfo]],
        file_path: str | os.PathLike[str],
        on_conflict: OnConflict = "error",
    ) -> None:
        """Add objects to an offsets file, or begin one.

        Unlike the SDK's method, which appends, this one writes the whole file again and puts it in place when it
        is complete. An entry that is there already, with the same range, isn't added again. Attributes, such as
        ``team_file_id``, are written too, and those that are there stay.

        Parameters
        ----------
        offsets : list of BlobImageInfo, or iterable of lists of them
        file_path : path
        on_conflict : {"error", "skip", "replace", "rename"}
            What to do with a new entry whose name is there with another range, see `read_offsets`.

        Raises
        ------
        OffsetsError
            The file that is there can't be read, or an entry can't be. The file is as it was.
        """
        check_mode(on_conflict)
        infos = list(_flat(offsets))
        new = OffsetsTable.from_entries(
            ((info.name, info.offset_start, info.offset_end) for info in infos),
            on_conflict=on_conflict,
            states=[encode_state(_others(info)) for info in infos],
        )
        if os.path.lexists(file_path):
            there = read_offsets(file_path, on_conflict=on_conflict, attributes=True)
            new = concatenate([there, new]).unique(on_conflict)
        write_offsets(file_path, new)


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise UsageError(f"batch_size is {batch_size}, and must be at least 1")


def _others(info: BlobImageInfo) -> dict[str, Any]:
    return {name: value for name, value in getattr(info, "__dict__", {}).items() if name not in FIELDS}


def _flat(offsets: Iterable[Any]) -> Generator[BlobImageInfo, None, None]:
    for item in offsets:
        if isinstance(item, list | tuple):
            yield from item
        else:
            yield item
