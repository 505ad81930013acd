"""Other projects around a place behind a backend: one in another one would be taken for more of its datasets."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeVar

from blobdir.discovery import layout
from blobdir.discovery.root import inside_project, is_project_above
from blobdir.errors import BlobdirError
from blobdir.filenames import parents_of
from blobdir.moving.remotefiles import PUSHING
from blobdir.packing.putting import check_unknown
from blobdir.sources.backend import SMALL_CONCURRENCY

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from blobdir.sources import RemoteStorage

T = TypeVar("T")


def refuse_inside(there: RemoteStorage, named: str = "", *, itself: bool = False) -> None:
    """Refuse a place that lies in another project, whole or half pushed. Asks for three names in each folder above.

    A folder that can't be asked, as where one's rights end, counts for none.

    Parameters
    ----------
    there
    named : str, optional
        What messages call the place; its URL if not given.
    itself : bool
        Whether the place mustn't be a project either: see `blobdir.discovery.root.refuse_inside`.

    Raises
    ------
    UsageError
    """
    shown = (named or there.url).rstrip("/")
    folder = _project_of(there, f"{there.root}/x" if itself else there.root)
    if folder is not None:
        below = there.root[len(folder) + 1 :]
        raise inside_project(shown, _url_above(shown, below), is_itself=not below)


def refuse_known(there: RemoteStorage, named: str, files: list[str]) -> None:
    """Refuse to write files where a project behind a backend has something of their names that they wouldn't replace.

    Parameters
    ----------
    there
        A place, of one file or the folder of all.
    named : str
        What messages call it.
    files : list of str
        Paths, as the place has one.

    Raises
    ------
    UsageError
        See `blobdir.packing.putting.refuse_known`.
    """
    first = f"{there.root}/x" if any(file != there.root for file in files) else there.root
    folder = _project_of(there, first)
    if folder is None:
        return
    shown = named.rstrip("/")
    below = len(there.root)
    check_unknown(folder, {file[len(folder) + 1 :]: shown + file[below:] for file in files}, fs=there.fs)


def _url_above(shown: str, below: str) -> str:
    """What a folder above a place is called."""
    return "/".join(shown.split("/")[: -1 - below.count("/")]) if below else shown


def _project_of(there: RemoteStorage, place: str) -> str | None:
    """The project that a place lies in; None where it lies in none."""
    above = [folder for folder in parents_of(place) if folder]
    signs = [f"{folder}/{name}" for folder in above for name in (layout.META, PUSHING)]
    requests: dict[str, Awaitable[object]] = {sign: there.backend.info(sign, sign) for sign in signs}
    blobs = [f"{folder}/{layout.BLOB_DIR}" for folder in above]
    requests |= {blob: there.backend.call(blob, "exists", blob) for blob in blobs}
    found = dict(zip(requests, _ask(there, requests), strict=True))
    for folder in above:
        new = place[len(folder) + 1 :]
        looks_so = found[f"{folder}/{layout.META}"] is not None or found[f"{folder}/{layout.BLOB_DIR}"]
        is_pushed = found[f"{folder}/{PUSHING}"] is not None
        if is_pushed or (looks_so and is_project_above(partial(_names, there, folder), new)):
            return folder
    return None


def _names(there: RemoteStorage, top: str, path: str) -> dict[str, bool]:
    folder = layout.join(top, path)
    (listed,) = _ask(there, {folder: there.backend.call(folder, "ls", folder, detail=True)})
    return {
        str(entry["name"]).rstrip("/").rpartition("/")[2]: entry.get("type") == "directory" for entry in listed or ()
    }


def _ask(there: RemoteStorage, requests: dict[str, Awaitable[T]]) -> list[T | None]:
    """The answers of a backend; None where there is none."""

    async def ask(request: Awaitable[T]) -> T | None:
        try:
            return await request
        except (BlobdirError, OSError):
            return None

    return list(there.backend.run_many(((what, ask(one)) for what, one in requests.items()), SMALL_CONCURRENCY))
