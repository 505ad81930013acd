"""Offsets of the members of a tar, with the names and the meaning that the SDK's functions have."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from blobdir.errors import BlobdirWarning, OffsetsError, UnsupportedMemberError, UsageError
from blobdir.offsets.choosing import choose, without_replaced
from blobdir.offsets.conflicts import OnConflict, check_mode
from blobdir.offsets.writer import BATCH_SIZE, write_offsets
from blobdir.tarscan import in_words, scan_tar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from blobdir.offsets.choosing import Filter
    from blobdir.offsets.info import BlobImageInfo
    from blobdir.offsets.table import OffsetsTable

SUFFIX = "_offsets.pkl"


def offsets_of_tar(
    archive_path: str | os.PathLike[str],
    filter_func: Filter | None = None,
    on_conflict: OnConflict = "error",
    *,
    hidden: bool = False,
    strict: bool = False,
    progress: Callable[[int], None] | None = None,
) -> OffsetsTable:
    """Find the regular files of a tar, under their base names: directories inside the tar are dropped, as the SDK does.

    Members that can't be served, such as sparse files, cost none of the others. Of several members of one full name the
    last counts, as in tar, unless `on_conflict` says otherwise.

    Parameters
    ----------
    archive_path : path
        An uncompressed tar, whose name ends in ``.tar`` in any case.
    filter_func : callable, optional
        Gets the full name of a member, and returns whether to include it. Without one, all are included but for what
        WebDataset keeps beside an image: ``a.json`` where there is an ``a.jpg``.
    on_conflict : {"error", "skip", "replace", "rename"}
        What to do with two members of one base name, see `read_offsets`.
    hidden : bool, default False
        Include dot files, AppleDouble files (``._a.jpg``) and the like, where `filter_func` wants them.
    strict : bool, default False
        Refuse a tar that a member must be left out of, or whose end is in doubt.
    progress : callable, optional
        Told now and then how many bytes of the archive lie behind.

    Warns
    -----
    BlobdirWarning
        Members that are left out, by name, but for those that `filter_func` doesn't want; and bytes after the end of
        the archive, or no end marker.

    Raises
    ------
    UsageError
        The name doesn't end in ``.tar``.
    TarError
        The archive is compressed or damaged; or `strict`, and there was something to warn of.
    OffsetsNameError
        A base name is so long that it can't be numbered.
    OffsetsConflictError
        Two members have the same base name, and `on_conflict` is "error".
    """
    check_mode(on_conflict)
    if Path(archive_path).suffix.lower() != ".tar":
        raise UsageError(f"{os.fspath(archive_path)}: offsets can be had of an uncompressed .tar only")
    path = os.fspath(archive_path)
    members = scan_tar(archive_path, progress=progress)
    choice = choose(members, filter_func, hidden=hidden)
    repeats = on_conflict != "error" or without_replaced(members, choice, path)
    faults = [*in_words(choice.faults), *members.doubts]
    if strict and faults:
        raise UnsupportedMemberError(f"{path}: {faults[0]} (strict)", path=path)
    for warning in (*faults, *in_words(choice.notes)):
        warnings.warn(f"{path}: {warning}", BlobdirWarning, stacklevel=2)
    table = choice.table if len(choice.rows) == len(members) else choice.table.take(choice.rows)
    try:
        return table.unique(on_conflict) if repeats else table
    except OffsetsError as error:
        raise type(error)(f"{path}: {error}", path=path) from None


def get_file_offsets_batch_generator(
    archive_path: str | os.PathLike[str],
    team_file_id: int | None = None,
    filter_func: Filter | None = None,
    output_format: Literal["dicts", "objects"] = "dicts",
    batch_size: int = BATCH_SIZE,
    on_conflict: OnConflict = "error",
) -> Generator[list[dict[str, Any]] | list[BlobImageInfo], None, None]:
    """Find the regular files of a tar, and yield them in lists of `batch_size`.

    Parameters
    ----------
    archive_path, filter_func, on_conflict
        See `offsets_of_tar`.
    team_file_id : int, optional
        Id of the blob in Team Files, for the dictionaries.
    output_format : {"dicts", "objects"}
        Dictionaries as the Supervisely API takes them, or `BlobImageInfo`.
    batch_size : int, default 10,000

    Raises
    ------
    UsageError
        A parameter makes no sense.
    TarError, OffsetsError
        See `offsets_of_tar`. The whole archive is scanned before the first list.
    """
    if output_format not in ("dicts", "objects"):
        raise UsageError(f"output_format is {output_format!r}, and must be 'dicts' or 'objects'")
    if batch_size < 1:
        raise UsageError(f"batch_size is {batch_size}, and must be at least 1")
    for batch in offsets_of_tar(archive_path, filter_func, on_conflict).batches(batch_size):
        yield [info.to_dict(team_file_id) for info in batch] if output_format == "dicts" else batch


def save_blob_offsets_pkl(
    blob_file_path: str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    team_file_id: int | None = None,  # noqa: ARG001 - the SDK's signature
    filter_func: Filter | None = None,
    batch_size: int = BATCH_SIZE,
    replace: bool = False,
    on_conflict: OnConflict = "error",
) -> str:
    """Write the offsets file of a tar, as ``<stem of the tar>_offsets.pkl``.

    Parameters
    ----------
    blob_file_path, filter_func, on_conflict
        See `offsets_of_tar`.
    output_dir : path
        The folder for the file, which must exist.
    team_file_id : int, optional
        Taken for compatibility. The SDK doesn't put it into the file either.
    batch_size : int, default 10,000
        Objects in one list.
    replace : bool, default False
        Whether a file that is there already is written anew. If not, it is kept, and nothing is looked at.

    Returns
    -------
    str
        Path of the file.

    Raises
    ------
    UsageError, TarError, OffsetsError
        See `offsets_of_tar`. No file is left behind, and one that was there is as it was.
    OSError
        The file can't be written.
    """
    output_path = os.path.join(output_dir, Path(blob_file_path).stem + SUFFIX)
    if replace or not os.path.exists(output_path):
        write_offsets(output_path, offsets_of_tar(blob_file_path, filter_func, on_conflict), batch_size=batch_size)
    return output_path
