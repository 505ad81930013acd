"""The index that lies beside a remote project: downloaded once per version of it."""

from __future__ import annotations

import json
import warnings
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from blobdir.discovery.inputs import place_of, unread
from blobdir.discovery.unfinished import INDEXING, MARKS
from blobdir.durable import write_whole
from blobdir.errors import BlobdirWarning, IndexFormatError, ReadError, UsageError
from blobdir.index import index_from_bytes, seal_of
from blobdir.inside import read_whole
from blobdir.leftovers import remove_odd
from blobdir.opening.beside import BESIDE_FILE
from blobdir.opening.keeping import cache_folder, keep, look_at
from blobdir.projectlock import STATE_DIR
from blobdir.sources import RemoteStorage, Stat

if TYPE_CHECKING:
    from pathlib import Path

    from blobdir.discovery import DiscoveryOptions
    from blobdir.index import Index
    from blobdir.sources import Storage


def carried(storage: Storage, discovery: DiscoveryOptions) -> Index | None:
    """The index that lies beside a remote project, downloaded once per version of it; None where there is none.

    Whether it's still true would take the listing that it should save. Blobs are looked at when they are read: their
    versions, or sizes, stand in the index. Whether a change is under way, or was cut off, is looked for: then the
    project is listed, and what may be half of the change is reported. It's listed as well while an index is written
    that isn't compared with it yet, and after that was cut off.
    """
    if not isinstance(storage, RemoteStorage):
        return None
    folder = cache_folder(storage, discovery)
    note = folder.with_name(f"{folder.name}.version")
    try:
        index = _carried_into(storage, folder, note)
        if storage.which(STATE_DIR, MARKS, at_no_cost={INDEXING}):
            return None
    except FileNotFoundError:
        return None
    except ReadError:
        if not storage.backend.has_answered:  # nor will it when it's asked for a listing
            raise
        return None
    except IndexFormatError as error:
        warnings.warn(f"{storage.url}/{BESIDE_FILE}: {error} (the project is listed now)", BlobdirWarning, stacklevel=3)
        return None
    return (
        _of_here(index, storage) if index.header.options == discovery.to_json() and not unread(index.header) else None
    )


def _of_here(index: Index, storage: RemoteStorage) -> Index:
    """The index of a project that was copied here says versions that blobs had elsewhere: here only sizes count."""
    header = index.header
    if header.place == place_of(storage):
        return index
    blobs = [replace(blob, mtime_ns=0, etag="") for blob in header.blobs]
    return replace(index, header=replace(header, blobs=blobs))


def _carried_into(storage: RemoteStorage, folder: Path, note: Path) -> Index:
    with suppress(OSError, ValueError, TypeError, KeyError, IndexFormatError):
        known = json.loads(read_whole(note, follow=False))
        then = Stat("file", known["size"], known["mtime_ns"], etag=known["etag"])
        if (then.etag or then.mtime_ns) and then.same_content(storage.stat(BESIDE_FILE)):
            found = look_at(folder).load()
            if seal_of(folder) == known["seal"]:  # the note and the index are of one version
                return found
    answer = storage.fetch(BESIDE_FILE)
    version, index = answer.version, index_from_bytes(answer.data)
    with suppress(OSError, UsageError):  # who can't write the cache still gets the project
        keep(index, folder)
        body = {"size": len(answer.data), "mtime_ns": version.mtime_ns, "etag": version.etag, "seal": seal_of(folder)}
        remove_odd(note)
        write_whole(note, [json.dumps(body).encode()])
    return index
